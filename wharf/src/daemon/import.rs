//! The daemon's part of an import: items become releases, a batch of them at a time.

use registry_core::catalog::{Content, Dependency, Name, NewRelease, Scheme, Version};
use registry_core::event::BatchOutcome;
use registry_core::{CommandError, Digest};
use registry_node::{Packed, Registry};
use serde_json::json;

use crate::args;
use crate::control::{self, About, Item, ItemContent, Outcome};
use crate::daemon::Lines;
use crate::daemon::failure::failure;
use crate::error::{CliError, Code};

/// Publishes what can be published. An item that cannot does not stop the others; a store that is full does.
pub(super) async fn import(registry: &Registry, items: Vec<Item>, out: &mut Lines<'_>) -> Result<(), CliError> {
    let (mut refusals, mut releases) = (Vec::new(), Vec::new());
    for item in items {
        match release_of(registry, item).await {
            Ok(release) => {
                releases.push(release);
                refusals.push(None);
            }
            Err(error) if error.code == Code::Storage || error.code == Code::NotRunning => return Err(error),
            Err(error) => refusals.push(Some(Outcome::Refused(error.message))),
        }
    }
    let batch =
        if releases.is_empty() { Vec::new() } else { registry.publish_batch(releases).await.map_err(failure)? };
    let mut batch = batch.into_iter().map(outcome);
    let outcomes: Vec<_> = refusals.into_iter().filter_map(|refusal| refusal.or_else(|| batch.next())).collect();
    out.line(json!({"outcomes": outcomes})).await
}

async fn release_of(registry: &Registry, Item { about, content }: Item) -> Result<NewRelease, CliError> {
    let release = new_release(about, Content::Unknown)?;
    let content = match content {
        ItemContent::Unknown => Content::Unknown,
        ItemContent::External { sha256, size } => {
            let sha256 = digest(&sha256).ok_or_else(|| usage("sha256", "must be 64 hexadecimal digits"))?;
            Content::External { sha256, size }
        }
        ItemContent::File(path) => {
            let Packed { root, size, .. } = registry.pack(path, false).await.map_err(failure)?;
            Content::Root { root, size }
        }
    };
    Ok(NewRelease { content, ..release })
}

fn digest(hex: &str) -> Option<Digest> {
    let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    if digits.len() == 64 { bytes.try_into().ok().map(Digest) } else { None }
}

fn outcome(outcome: BatchOutcome) -> Outcome {
    match outcome {
        BatchOutcome::Published { position: _ } => Outcome::Published,
        BatchOutcome::Unchanged => Outcome::Unchanged,
        BatchOutcome::Refused(CommandError::AlreadyPublished) => {
            Outcome::Refused("this version is published with other metadata, and a release never changes".into())
        }
        BatchOutcome::Refused(error) => Outcome::Refused(error.to_string()),
    }
}

/// The release a user or a row describes.
pub(super) fn new_release(about: About, content: Content) -> Result<NewRelease, CliError> {
    let scheme = match about.scheme {
        args::Scheme::Semver => Scheme::Semver,
        args::Scheme::Debian => Scheme::Debian,
        args::Scheme::Opaque => Scheme::Opaque,
    };
    let dependencies = about.dependencies.into_iter().map(|list| list.into_iter().map(dependency).collect());
    Ok(NewRelease {
        name: Name::new(&about.name).map_err(|reason| usage("name", reason))?,
        version: Version::new(&about.version, scheme).map_err(|reason| usage("version", reason))?,
        content,
        summary: about.summary,
        description: about.description,
        keywords: about.keywords,
        category: about.category,
        tags: about.tags,
        licence: about.licence,
        dependencies: dependencies.collect::<Result<_, _>>()?,
    })
}

fn dependency(control::Dependency { name, requirement }: control::Dependency) -> Result<Dependency, CliError> {
    let known = Name::new(&name).map_err(|reason| usage("dependencies", &format!("{name}: {reason}")))?;
    Ok(Dependency { publisher: None, name: known, requirement })
}

fn usage(field: &str, reason: &str) -> CliError {
    CliError::new(Code::Usage, format!("{field}: {reason}"), "see `wharf publish --help`")
}
