//! What each verb does with the registry, and what it prints.

use std::path::Path;

use futures::StreamExt;
use multiaddr::{Multiaddr, Protocol};
use registry_core::catalog::{Content, Dependency, Deprecation, PackageSpec, ReleaseInfo, UpdateKind};
use registry_core::event::{Event, Stage};
use registry_core::input::Side;
use registry_core::peers::PeerView;
use registry_core::search::{Hit, Query, ScorePart};
use registry_core::{PeerId, PublisherId};
use registry_node::{Error, Existing, Notice, Registry};
use serde_json::{Value, json};

use crate::args::{Search, Watch};
use crate::control::{Publish, Request};
use crate::daemon::amend;
use crate::daemon::failure::{ALONE, failure};
use crate::daemon::import::{self, new_release};
use crate::daemon::{Lines, Node, by_hand};
use crate::error::{CliError, Code};

/// Runs one verb to its end.
pub(super) async fn answer(node: &Node, request: Request, out: &mut Lines<'_>) -> Result<(), CliError> {
    let registry = &node.registry;
    match request {
        Request::Publish(publish) => self::publish(registry, *publish, out).await,
        Request::Import { items } => import::import(registry, items, out).await,
        Request::Search(search) => self::search(registry, search, out).await,
        Request::Yank(yank) => amend::yank(registry, yank, out).await,
        Request::Deprecate(deprecate) => amend::deprecate(registry, deprecate, out).await,
        Request::Ls { what } => amend::list(registry, what, out).await,
        Request::Follow { publisher, on } => amend::follow(registry, &publisher, on, out).await,
        Request::Info { spec } => or_alone(registry, info(registry, &spec, out).await).await,
        Request::Get { spec, out: folder } => or_alone(registry, get(registry, &spec, &folder, out).await).await,
        Request::Watch(watch) => self::watch(registry, watch, out).await,
        Request::Peers => peers(registry, out).await,
        Request::Connect { addr } => {
            let peer = registry.connect(parse_addr(&addr)?).await.map_err(failure)?;
            out.line(json!({"event": "connected", "peer_id": peer.to_string()})).await
        }
        Request::Status => status(registry, out).await,
        Request::Dht { ask } => by_hand::dht(registry, ask, out).await,
        Request::Pubsub { ask } => by_hand::pubsub(node, ask, out).await,
        Request::Ping(ping) => by_hand::ping(registry, &ping, out).await,
        Request::Identify { peer } => by_hand::identify(registry, &peer, out).await,
    }
}

/// Who is connected to nobody has asked nobody.
async fn or_alone(registry: &Registry, answer: Result<(), CliError>) -> Result<(), CliError> {
    match answer {
        Err(error) if error.code == Code::NotFound && registry.peers().await.is_ok_and(|peers| peers.is_empty()) => {
            Err(CliError { hint: ALONE.into(), ..error })
        }
        answer => answer,
    }
}

async fn publish(registry: &Registry, publish: Publish, out: &mut Lines<'_>) -> Result<(), CliError> {
    let release = new_release(publish.about, Content::Unknown)?;
    out.line(json!({"event": "progress", "stage": "packing"})).await?;
    let mut running = registry.publish(publish.path, release).await.map_err(failure)?;
    while let Some(stage) = running.stage().await {
        out.line(progress(stage)).await?;
    }
    let published = running.await.map_err(failure)?;
    let mut line = describe(&published.release);
    line["event"] = json!("published");
    line["acks"] = json!(published.acks);
    line["sent"] = json!(published.sent);
    out.line(line).await
}

async fn search(registry: &Registry, search: Search, out: &mut Lines<'_>) -> Result<(), CliError> {
    let query = Query {
        text: search.query,
        limit: search.limit,
        category: search.category,
        tags: search.tags,
        publisher: search.publisher.as_deref().map(parse_publisher).transpose()?,
    };
    let page = registry.search(query).await.map_err(failure)?;
    let results: Vec<_> = page.hits.iter().map(|hit| result(hit, search.explain)).collect();
    out.line(json!({"results": results, "complete": page.complete})).await
}

fn result(hit: &Hit, explain: bool) -> Value {
    let mut result = describe(&hit.release);
    result["score"] = json!(points(hit.score));
    if explain {
        let part = |part: &ScorePart| json!({"term": part.term, "field": part.field, "score": points(part.score)});
        result["parts"] = hit.parts.iter().map(part).collect();
    }
    result
}

pub(super) async fn info(registry: &Registry, spec: &str, out: &mut Lines<'_>) -> Result<(), CliError> {
    let spec = parse_spec(spec)?;
    let mut releases = registry.info(spec.clone()).await.map_err(failure)?;
    if releases.is_empty() {
        releases = vec![registry.resolve(spec).await.map_err(failure)?];
    }
    let forked = registry.is_forked(releases[0].release.publisher).await.map_err(failure)?;
    let releases: Vec<_> = releases.iter().map(|one| describe(one)).collect();
    out.line(json!({"forked": forked, "releases": releases})).await
}

async fn get(registry: &Registry, spec: &str, folder: &Path, out: &mut Lines<'_>) -> Result<(), CliError> {
    let spec = parse_spec(spec)?;
    let mut download = registry.download(spec).await.map_err(failure)?;
    while let Some(stage) = download.stage().await {
        out.line(progress(stage)).await?;
    }
    let got = download.save(folder, Existing::Join).await.map_err(failure)?;
    let provider = |(peer, bytes): &(PeerId, u64)| json!({"peer_id": peer.to_string(), "bytes": bytes});
    let mut line = describe(&got.release);
    line["event"] = json!("fetched");
    line["out"] = json!(folder);
    line["providers"] = got.sources.iter().map(provider).collect();
    out.line(line).await
}

async fn watch(registry: &Registry, watch: Watch, out: &mut Lines<'_>) -> Result<(), CliError> {
    let publisher = watch.publisher.as_deref().map(parse_publisher).transpose()?;
    let mut events = registry.subscribe().await.map_err(failure)?;
    out.line(json!({"event": "watching"})).await?;
    while let Some(notice) = events.next().await {
        match notice {
            Notice::Event(Event::Update { kind, release: info }) => {
                let wanted = publisher.is_none_or(|id| info.release.publisher == id)
                    && watch.name.as_ref().is_none_or(|name| info.release.meta.name.as_str() == name);
                if wanted {
                    let mut line = describe(&info);
                    line["event"] = json!("update");
                    line["kind"] = json!(kind_name(kind));
                    out.line(line).await?;
                }
            }
            Notice::Event(_) => {}
            Notice::Missed(count) => out.line(json!({"event": "missed", "count": count})).await?,
        }
    }
    Err(failure(Error::NotRunning))
}

async fn peers(registry: &Registry, out: &mut Lines<'_>) -> Result<(), CliError> {
    let peer = |peer: &PeerView| {
        json!({
            "peer_id": peer.peer.to_string(),
            "addr": peer.addr.to_string(),
            "dialled": peer.side == Side::Dialer,
            "agent": peer.agent,
            "connected_seconds": peer.connected_for.as_secs(),
            "dht_server": peer.protocols.kad,
            "verified_bytes": peer.verified_bytes,
            "offences": peer.offences,
        })
    };
    let peers: Vec<_> = registry.peers().await.map_err(failure)?.iter().map(peer).collect();
    out.line(json!({"peers": peers})).await
}

async fn status(registry: &Registry, out: &mut Lines<'_>) -> Result<(), CliError> {
    let stats = registry.stats().await.map_err(failure)?;
    let calls = registry.calls().await.map_err(failure)?;
    let listen: Vec<_> = registry.listen_addrs().iter().map(ToString::to_string).collect();
    out.line(json!({
        "peer_id": registry.peer_id().to_string(),
        "publisher": registry.publisher_id().to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "listen": listen,
        "connections": stats.connections,
        "publishers": stats.publishers,
        "releases": stats.releases,
        "catalogue": format!("{:?}", stats.catalogue),
        "catalogue_bytes": stats.catalogue_bytes,
        "followed": stats.followed,
        "refused_by_quota": stats.refused,
        "put_out_by_quota": stats.put_out,
        "forked_publishers": stats.forked,
        "sync_sent": stats.sync_sent,
        "sync_received": stats.sync_received,
        "dht_requests": stats.dht_requests,
        "pubsub_copies": stats.pubsub_copies,
        "contents": stats.contents,
        "operations": stats.operations,
        "announcements": stats.announcements,
        "calls": calls.total,
        "slow_calls": calls.slow,
        "longest_call_ms": calls.longest.as_secs_f64() * 1000.0,
        "longest_call": calls.longest_in,
    }))
    .await
}

/// A release as every verb shows it.
pub(super) fn describe(info: &ReleaseInfo) -> Value {
    let meta = &info.release.meta;
    let mut line = json!({
        "publisher": info.release.publisher.to_string(),
        "name": meta.name.as_str(),
        "version": &*meta.version.text,
        "summary": meta.summary,
        "description": meta.description,
        "keywords": meta.keywords,
        "category": meta.category,
        "tags": meta.tags,
        "licence": meta.licence,
        "position": info.release.position,
    });
    match &meta.content {
        Content::Root { root, size } => {
            line["root"] = json!(root.to_string());
            line["size"] = json!(size);
        }
        Content::External { sha256, size } => {
            line["sha256"] = json!(format!("{sha256:?}"));
            line["size"] = json!(size);
        }
        Content::Unknown => {}
    }
    if let Some(reason) = &info.status.yanked {
        line["yanked"] = json!(reason);
    }
    if let Some(Deprecation { message, replacement }) = &info.status.deprecated {
        line["deprecated"] = json!(message);
        if let Some(Dependency { publisher, name, .. }) = replacement {
            let publisher = publisher.unwrap_or(info.release.publisher);
            line["replacement"] = json!(format!("{publisher}/{name}"));
        }
    }
    line
}

pub(super) fn progress(stage: Stage) -> Value {
    let mut line = json!({"event": "progress", "stage": stage_name(stage)});
    if let Stage::Fetching { bytes, total, providers } = stage {
        line["bytes"] = json!(bytes);
        line["total"] = json!(total);
        line["providers"] = json!(providers);
    }
    line
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::CheckingLog => "checking_log",
        Stage::Signed => "signed",
        Stage::Stored => "stored",
        Stage::Announcing => "announcing",
        Stage::Fetching { .. } => "fetching",
    }
}

fn kind_name(kind: UpdateKind) -> &'static str {
    match kind {
        UpdateKind::NewPackage => "new_package",
        UpdateKind::NewVersion => "new_version",
        UpdateKind::Yanked => "yanked",
        UpdateKind::Unyanked => "unyanked",
        UpdateKind::Deprecated => "deprecated",
        UpdateKind::Undeprecated => "undeprecated",
    }
}

/// Scores are millionths in the core, points for people.
fn points(score: u64) -> f64 {
    score as f64 / 1e6
}

pub(super) fn parse_addr(text: &str) -> Result<Multiaddr, CliError> {
    let hint = "an address looks like /ip4/192.0.2.1/tcp/4001";
    let addr: Multiaddr =
        text.parse().map_err(|error| CliError::new(Code::Usage, format!("address {text}: {error}"), hint))?;
    let has_tcp = addr.iter().any(|part| matches!(part, Protocol::Tcp(_)));
    if has_tcp { Ok(addr) } else { Err(CliError::new(Code::Usage, format!("address {text}: no TCP port"), hint)) }
}

pub(super) fn parse_spec(text: &str) -> Result<PackageSpec, CliError> {
    let hint = "a package is named [PUBLISHER/]NAME[@VERSION or range]";
    PackageSpec::parse(text).map_err(|error| CliError::new(Code::Usage, error.0, hint))
}

pub(super) fn parse_publisher(text: &str) -> Result<PublisherId, CliError> {
    let hint = "a publisher's id is the long word that `publish` and `search` print";
    PublisherId::parse(text).ok_or_else(|| CliError::new(Code::Usage, format!("publisher {text}: not an id"), hint))
}
