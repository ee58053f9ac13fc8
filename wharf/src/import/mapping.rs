//! From a row of another registry to a release: which field comes from where, and how it is made to fit.
//! `docs/import.md` has the rules for people.

use std::collections::BTreeMap;

use registry_core::catalog::release::{MAX_ALTERNATIVES, MAX_DEPENDENCIES, MAX_KEYWORDS, MAX_LINE, MAX_TAGS, MAX_WORD};
use serde_json::{Map, Value};

use crate::args::{Format, Scheme};
use crate::control::{About, Dependency, Item, ItemContent};
use crate::error::{CliError, Code};
use crate::import::text::Fitter;

/// The fields of a release that a row can fill.
const FIELDS: [&str; 11] = [
    "name",
    "version",
    "summary",
    "description",
    "keywords",
    "category",
    "tags",
    "licence",
    "dependencies",
    "sha256",
    "size",
];

/// Which field of a release comes from which field of a row.
#[derive(Debug)]
pub(super) struct Mapping {
    sources: BTreeMap<&'static str, String>,
    scheme: Scheme,
    /// `@scope/name` is a name.
    scopes: bool,
}

/// What the user wants otherwise than the format has it.
#[derive(Debug)]
pub(super) struct Changes {
    sources: Vec<(&'static str, String)>,
    scheme: Option<Scheme>,
}

impl Changes {
    /// Of `FIELD=SOURCE` pairs.
    pub(super) fn new(pairs: &[String], scheme: Option<Scheme>) -> Result<Self, CliError> {
        let parse = |pair: &String| {
            let (field, source) = pair.split_once('=').unwrap_or((pair, ""));
            let field = FIELDS.iter().find(|known| **known == field).ok_or_else(|| {
                let message = format!("--map {pair}: {field} is not a field of a release");
                CliError::new(Code::Usage, message, format!("the fields are {}", FIELDS.join(", ")))
            })?;
            Ok((*field, source.to_string()))
        };
        Ok(Self { sources: pairs.iter().map(parse).collect::<Result<_, _>>()?, scheme })
    }
}

type Row = Map<String, Value>;

impl Mapping {
    pub(super) fn new(format: Format, changes: &Changes) -> Self {
        let renamed: &[(&str, &str)] = match format {
            Format::Plain => &[],
            Format::Debian => &[("category", "section"), ("dependencies", "depends")],
            Format::Crates => &[
                ("summary", "description"),
                ("description", "readme"),
                ("category", "categories"),
                ("licence", "license"),
                ("dependencies", "deps"),
            ],
            Format::Npm => {
                &[("summary", "description"), ("description", ""), ("licence", "license"), ("dependencies", "deps")]
            }
        };
        let renamed = renamed.iter().map(|(field, source)| (*field, source.to_string()));
        let own = FIELDS.into_iter().map(|field| (field, field.to_string()));
        let usual = if let Format::Debian = format { Scheme::Debian } else { Scheme::Semver };
        Self {
            sources: own.chain(renamed).chain(changes.sources.iter().cloned()).collect(),
            scheme: changes.scheme.unwrap_or(usual),
            scopes: matches!(format, Format::Npm),
        }
    }

    /// Name and version as the row has them, for messages.
    pub(super) fn label(&self, row: &Row) -> (String, String) {
        let text = |field| self.text(row, field).unwrap_or_default().to_string();
        (text("name"), text("version"))
    }

    /// The release a row describes, and whether something of it had to be left out.
    pub(super) fn item(&self, row: &Row) -> Result<(Item, bool), String> {
        let mut fit = Fitter::default();
        let (summary, description) = fit.summary(self.text(row, "summary")?, self.text(row, "description")?);
        let about = About {
            name: self.name(self.text(row, "name")?)?,
            version: self.text(row, "version")?.to_string(),
            scheme: self.scheme,
            summary,
            description,
            keywords: fit.words(self.list(row, "keywords")?, MAX_KEYWORDS),
            category: fit.line(self.list(row, "category")?.first().unwrap_or(&""), MAX_WORD),
            tags: fit.words(self.list(row, "tags")?, MAX_TAGS),
            licence: fit.line(self.text(row, "licence")?, MAX_LINE),
            dependencies: self.dependencies(row, &mut fit)?,
        };
        Ok((Item { about, content: self.content(row)? }, fit.shortened))
    }

    fn content(&self, row: &Row) -> Result<ItemContent, String> {
        let (sha256, size) = (self.text(row, "sha256")?, self.value(row, "size"));
        match (sha256, size) {
            ("", _) => Ok(ItemContent::Unknown),
            (sha256, Some(size)) => {
                let size = size.as_u64().ok_or("size: not a whole number of bytes")?;
                Ok(ItemContent::External { sha256: sha256.to_string(), size })
            }
            (_, None) => Err("size: missing beside a sha256".into()),
        }
    }

    fn dependencies(&self, row: &Row, fit: &mut Fitter) -> Result<Vec<Vec<Dependency>>, String> {
        let mut found = Vec::new();
        for entry in self.values(row, "dependencies")? {
            let list = match entry {
                Value::String(text) => {
                    text.split('|').map(|one| self.dependency(one)).collect::<Result<Vec<_>, _>>()?
                }
                Value::Array(parts) => self.typed_dependency(parts)?.into_iter().collect(),
                _ => return Err("dependencies: an entry is neither a text nor a list".into()),
            };
            let list = fit.first(list, MAX_ALTERNATIVES);
            if !list.is_empty() && !found.contains(&list) {
                found.push(list);
            }
        }
        Ok(fit.first(found, MAX_DEPENDENCIES))
    }

    /// `name` or `name requirement`
    fn dependency(&self, text: &str) -> Result<Dependency, String> {
        let text = text.trim();
        let (name, requirement) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        Ok(Dependency { name: self.name(name)?, requirement: requirement.trim().to_string() })
    }

    /// `[name, requirement, kind]`; what is needed only to develop the package, or only if wished, is left out.
    fn typed_dependency(&self, parts: &[Value]) -> Result<Option<Dependency>, String> {
        let part = |at: usize| match parts.get(at) {
            Some(Value::String(text)) => Ok(&**text),
            None | Some(Value::Null) => Ok(""),
            Some(_) => Err("dependencies: an entry has other parts than texts"),
        };
        let (name, requirement, kind) = (part(0)?, part(1)?, part(2)?);
        if kind.starts_with("dev") || kind.ends_with('?') {
            return Ok(None);
        }
        Ok(Some(Dependency { name: self.name(name)?, requirement: requirement.to_string() }))
    }

    /// npm's `@scope/name` is written `scope+name`; no name there has a `+`, so that one can be told from the other.
    fn name(&self, name: &str) -> Result<String, String> {
        match name.strip_prefix('@').and_then(|scoped| scoped.split_once('/')) {
            _ if !self.scopes => Ok(name.to_string()),
            _ if name.contains('+') => Err(format!("{name}: + stands for a scope")),
            Some((scope, name)) => Ok(format!("{scope}+{name}")),
            None => Ok(name.to_string()),
        }
    }

    /// `None` when the field is not mapped, absent or null.
    fn value<'a>(&self, row: &'a Row, field: &str) -> Option<&'a Value> {
        row.get(self.sources.get(field)?).filter(|value| !value.is_null())
    }

    fn text<'a>(&self, row: &'a Row, field: &str) -> Result<&'a str, String> {
        let Some(value) = self.value(row, field) else { return Ok("") };
        value.as_str().ok_or_else(|| format!("{field}: not a text"))
    }

    fn values<'a>(&self, row: &'a Row, field: &str) -> Result<&'a [Value], String> {
        let Some(value) = self.value(row, field) else { return Ok(&[]) };
        value.as_array().map(Vec::as_slice).ok_or_else(|| format!("{field}: not a list"))
    }

    /// Texts of a list; a text alone is a list of one.
    fn list<'a>(&self, row: &'a Row, field: &str) -> Result<Vec<&'a str>, String> {
        if let Some(Value::String(text)) = self.value(row, field) {
            return Ok(vec![text]);
        }
        let texts = self.values(row, field)?.iter().map(Value::as_str);
        texts.collect::<Option<_>>().ok_or_else(|| format!("{field}: not a list of texts"))
    }
}

/// The format whose mark a row carries.
pub(super) fn detect(row: &Row) -> Format {
    let has = |fields: &[&str]| fields.iter().all(|field| row.contains_key(*field));
    if has(&["section", "depends"]) {
        Format::Debian
    } else if has(&["integrity"]) {
        Format::Npm
    } else if has(&["categories", "deps"]) {
        Format::Crates
    } else {
        Format::Plain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(value: Value) -> Row {
        value.as_object().unwrap().clone()
    }

    fn item(value: Value) -> Result<(Item, bool), String> {
        let row = row(value);
        Mapping::new(detect(&row), &Changes::new(&[], None).unwrap()).item(&row)
    }

    fn pair(one: &Dependency) -> (&str, &str) {
        (&one.name, &one.requirement)
    }

    fn needs(item: &Item) -> Vec<Vec<(&str, &str)>> {
        item.about.dependencies.iter().map(|list| list.iter().map(pair).collect()).collect()
    }

    #[test]
    fn a_debian_row() {
        let (item, shortened) = item(json!({
            "name": "libx+y", "version": "1:2.0-1", "section": "games", "summary": "A game", "description": "Long.",
            "tags": ["game::board"], "depends": ["libc6", "a|b"], "sha256": "00", "size": 7, "popcon_rank": null,
        }))
        .unwrap();
        assert!(!shortened);
        assert_eq!((&*item.about.name, &*item.about.category), ("libx+y", "games"));
        assert!(matches!(item.about.scheme, Scheme::Debian));
        assert_eq!(needs(&item), [vec![("libc6", "")], vec![("a", ""), ("b", "")]]);
        assert_eq!(item.content, ItemContent::External { sha256: "00".into(), size: 7 });
    }

    #[test]
    fn a_crate_row() {
        let (item, _) = item(json!({
            "name": "x", "version": "1.0.0", "description": "One\\nline", "readme": "More", "categories": ["cli", "b"],
            "keywords": ["k", "k"], "license": "MIT",
            "deps": [["a", "^1", "normal"], ["b", "1", "normal?"], ["c", "1", "dev"], ["d", "1", "build"]],
        }))
        .unwrap();
        assert_eq!((&*item.about.summary, &*item.about.description), ("One\\nline", "More"));
        assert_eq!((&*item.about.category, &*item.about.licence), ("cli", "MIT"));
        assert_eq!(item.about.keywords, ["k"]);
        assert_eq!(needs(&item), [vec![("a", "^1")], vec![("d", "1")]]);
        assert_eq!(item.content, ItemContent::Unknown);
    }

    #[test]
    fn an_npm_row() {
        let row = |name: &str| json!({"name": name, "version": "1.0.0", "integrity": "sha512-", "deps": ["@types/node", "lodash"]});
        let (scoped, _) = item(row("@babel/core")).unwrap();
        assert_eq!(scoped.about.name, "babel+core");
        assert_eq!(needs(&scoped), [vec![("types+node", "")], vec![("lodash", "")]]);
        assert_eq!(scoped.content, ItemContent::Unknown);
        assert_eq!(item(row("a+b")), Err("a+b: + stands for a scope".into()));
    }

    #[test]
    fn a_long_summary_goes_on_in_the_description() {
        let long = "word ".repeat(60);
        let (item, shortened) =
            item(json!({"name": "x", "version": "1.0.0", "summary": long, "description": "d"})).unwrap();
        assert!(item.about.summary.ends_with("word…") && item.about.summary.len() <= 256);
        assert!(item.about.description.starts_with(long.trim()) && item.about.description.ends_with("\n\nd"));
        assert!(!shortened, "nothing is lost");
    }

    #[test]
    fn fields_can_be_mapped() {
        let row = row(json!({"title": "x", "version": "1", "summary": "no", "tags": "one"}));
        let pairs = ["name=title".to_string(), "summary=".into()];
        let (item, _) =
            Mapping::new(Format::Plain, &Changes::new(&pairs, Some(Scheme::Opaque)).unwrap()).item(&row).unwrap();
        assert_eq!((&*item.about.name, &*item.about.summary), ("x", ""));
        assert_eq!(item.about.tags, ["one"]);
        assert!(matches!(item.about.scheme, Scheme::Opaque));
        let unknown = Changes::new(&["colour=c".into()], None).unwrap_err();
        assert_eq!(unknown.code, Code::Usage);
    }

    #[test]
    fn what_is_not_of_its_kind_is_named() {
        let reason = |field: &str, value: Value| {
            let mut row = row(json!({"name": "x", "version": "1.0.0"}));
            row.insert(field.into(), value);
            Mapping::new(Format::Plain, &Changes::new(&[], None).unwrap()).item(&row).unwrap_err()
        };
        assert_eq!(reason("name", json!(1)), "name: not a text");
        assert_eq!(reason("tags", json!({})), "tags: not a list");
        assert_eq!(reason("tags", json!([1])), "tags: not a list of texts");
        assert_eq!(reason("sha256", json!("00")), "size: missing beside a sha256");
        assert!(reason("dependencies", json!([1])).contains("neither"));
        assert!(reason("dependencies", json!([["a", 1]])).contains("other parts"));
    }
}
