//! What is said of packages later, and what there is of them: `yank`, `deprecate`, `follow`, `ls`.

use registry_core::PublisherId;
use registry_core::catalog::packages::Listed;
use registry_core::catalog::{Amendment, Change, Dependency, Deprecation, PackageSpec};
use registry_node::Registry;
use serde_json::{Value, json};

use crate::args::{Deprecate, Yank};
use crate::daemon::Lines;
use crate::daemon::failure::failure;
use crate::daemon::verbs::{describe, info, parse_publisher, parse_spec, progress};
use crate::error::{CliError, Code};

pub(super) async fn yank(registry: &Registry, yank: Yank, out: &mut Lines<'_>) -> Result<(), CliError> {
    let spec = own(registry, &yank.spec)?;
    let change = if yank.undo { Change::Unyank } else { Change::Yank { reason: yank.reason } };
    let event = if yank.undo { "unyanked" } else { "yanked" };
    amend(registry, spec, change, event, out).await
}

pub(super) async fn deprecate(registry: &Registry, args: Deprecate, out: &mut Lines<'_>) -> Result<(), CliError> {
    let spec = own(registry, &args.spec)?;
    if args.undo {
        return amend(registry, spec, Change::Undeprecate, "undeprecated", out).await;
    }
    let replacement = args.replacement.as_deref().map(replacement).transpose()?;
    let deprecation = Deprecation { message: args.message.unwrap_or_default(), replacement };
    amend(registry, spec, Change::Deprecate(deprecation), "deprecated", out).await
}

async fn amend(
    registry: &Registry,
    spec: PackageSpec,
    change: Change,
    event: &str,
    out: &mut Lines<'_>,
) -> Result<(), CliError> {
    let whole = spec.version.is_none();
    let amendment = Amendment { name: spec.name, version: spec.version.map(Into::into), change };
    let mut running = registry.amend(amendment).await.map_err(failure)?;
    while let Some(stage) = running.stage().await {
        out.line(progress(stage)).await?;
    }
    let done = running.await.map_err(failure)?;
    let mut line = describe(&done.release);
    if whole {
        line["version"] = Value::Null;
    }
    line["event"] = json!(event);
    line["acks"] = json!(done.acks);
    line["sent"] = json!(done.sent);
    out.line(line).await
}

/// Only an own package can be amended.
fn own(registry: &Registry, text: &str) -> Result<PackageSpec, CliError> {
    let spec = parse_spec(text)?;
    match spec.publisher {
        Some(publisher) if publisher != registry.publisher_id() => {
            let hint = "only its publisher can say that of a package";
            Err(CliError::new(Code::Refused, format!("{text}: not of this node's publisher"), hint))
        }
        Some(_) | None => Ok(spec),
    }
}

fn replacement(text: &str) -> Result<Dependency, CliError> {
    let PackageSpec { publisher, name, version } = parse_spec(text)?;
    Ok(Dependency { publisher, name, requirement: version.unwrap_or_default() })
}

pub(super) async fn follow(
    registry: &Registry,
    publisher: &str,
    on: bool,
    out: &mut Lines<'_>,
) -> Result<(), CliError> {
    let publisher = parse_publisher(publisher)?;
    registry.follow(publisher, on).await.map_err(failure)?;
    let event = if on { "followed" } else { "unfollowed" };
    out.line(json!({"event": event, "publisher": publisher.to_string()})).await
}

/// A publisher's packages (without one, the own ones), or a package's versions.
pub(super) async fn list(registry: &Registry, what: Option<String>, out: &mut Lines<'_>) -> Result<(), CliError> {
    let publisher = match &what {
        None => Some(registry.publisher_id()),
        Some(text) => PublisherId::parse(text),
    };
    let Some(publisher) = publisher else { return info(registry, &what.unwrap_or_default(), out).await };
    let forked = registry.is_forked(publisher).await.map_err(failure)?;
    let mut packages = Vec::new();
    let mut after = None;
    loop {
        let page = registry.list(publisher, after).await.map_err(failure)?;
        packages.extend(page.packages.iter().map(package));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    out.line(json!({"publisher": publisher.to_string(), "forked": forked, "packages": packages})).await
}

fn package(listed: &Listed) -> Value {
    json!({
        "name": listed.name.as_str(),
        "version": &*listed.version.text,
        "versions": listed.versions,
        "yanked": listed.yanked,
        "deprecated": listed.deprecated,
    })
}
