//! How people name a package.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::catalog::{Name, Scheme};
use crate::id::{InvalidText, PublisherId};

/// Longest version or range in a specification, in bytes.
pub(crate) const MAX_VERSION: usize = 128;

/// Why a specification names nothing that may be picked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Unresolved {
    /// No such package or version is known.
    Unknown,
    /// Several publishers have that name.
    Ambiguous,
    /// A range was asked for, and the versions are of this scheme, which has none.
    NoRanges(Scheme),
    /// All versions that fit are yanked.
    Yanked,
    /// The publisher has contradicted itself, and this is not one of its versions by name.
    Forked,
}

/// `[PUBLISHER/]NAME[@VERSION or range]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PackageSpec {
    /// Whose; `None` only resolves when a single publisher has the name.
    pub publisher: Option<PublisherId>,
    /// Which.
    pub name: Name,
    /// An exact version, yanked or not, or a semver range (`^1.2`, `~1.4`, `>=1, <2`, `1.2`): the highest in it that is
    /// not yanked, pre-releases only when the range names one. `None` is the highest that is neither yanked nor a
    /// pre-release, or the highest not yanked when there are only pre-releases.
    pub version: Option<String>,
}

impl PackageSpec {
    /// Parses the text form.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, InvalidText> {
        let (package, version) =
            text.split_once('@').map_or((text, None), |(package, version)| (package, Some(version)));
        let (publisher, name) = package.split_once('/').map_or((None, package), |(id, name)| (Some(id), name));
        let publisher = publisher.map(|id| PublisherId::parse(id).ok_or_else(|| invalid("publisher", id, "not an id")));
        let name = Name::new(name).map_err(|reason| invalid("name", name, reason))?;
        if let Some(version) = version {
            let fits = (1..=MAX_VERSION).contains(&version.len())
                && version.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
            fits.then_some(()).ok_or_else(|| invalid("version", version, "must be 1 to 128 printable characters"))?;
        }
        Ok(Self { publisher: publisher.transpose()?, name, version: version.map(String::from) })
    }
}

fn invalid(part: &str, text: &str, reason: &str) -> InvalidText {
    InvalidText(alloc::format!("{part} {text:?}: {reason}"))
}

impl FromStr for PackageSpec {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        Self::parse(text)
    }
}

impl fmt::Display for PackageSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(publisher) = self.publisher {
            write!(f, "{publisher}/")?;
        }
        write!(f, "{}", self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "@{version}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Digest;
    use alloc::format;
    use alloc::string::ToString;

    #[test]
    fn text_round_trips() {
        let publisher = PublisherId(Digest::of(b"p"));
        let bare = ["serde", "serde@1", "serde@>=1.2, <3", "libstdc++6@1:2~rc1"].map(String::from);
        for text in bare.iter().cloned().chain(bare.iter().map(|text| format!("{publisher}/{text}"))) {
            let spec = PackageSpec::parse(&text).unwrap();
            assert_eq!(spec.to_string(), text);
            assert_eq!(spec.publisher.is_some(), text.contains('/'));
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in
            [("", "name"), ("a b", "name"), ("x/serde", "publisher"), ("serde@", "version"), ("@1", "name")]
        {
            assert!(PackageSpec::parse(text).unwrap_err().0.starts_with(part), "{text}");
        }
    }
}
