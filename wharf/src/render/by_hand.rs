//! Answers of the verbs to try foreign peers.

use serde_json::Value;

use super::{list, print, text};

/// One line of any of them; its event, or what it holds, says of which.
pub(super) fn show(line: &Value) {
    match text(line, "event") {
        "stored" => print(&format!("kept by {} DHT nodes", line["acks"])),
        "value" => print(&readable(line, "value")),
        "providing" => print(&format!("told to {} DHT nodes", line["sent"])),
        "stopped" => print("no longer a provider"),
        "peers" => list(line, "peers").iter().for_each(found),
        "published" => print(&format!("sent to {} peers", line["sent"])),
        "subscribed" => eprintln!("listening to {}", text(line, "topic")),
        "message" => print(&format!("{}  {}", text(line, "from"), readable(line, "data"))),
        "missed" => missed(line),
        "pong" => print(&format!("{}  {} ms", line["seq"], millis(line, "rtt_ms"))),
        "lost" => print(&format!("{}  {}", line["seq"], text(line, "why"))),
        "summary" => summary(line),
        _ if line["topics"].is_array() => list(line, "topics").iter().for_each(topic),
        _ if line["peers"].is_array() => list(line, "peers").iter().for_each(subscriber),
        _ => identity(line),
    }
}

pub(super) fn missed(line: &Value) {
    eprintln!("missed {} events: they came faster than they were read", line["count"]);
}

/// Text as it is when a terminal can take it, anything else as it would be typed.
fn readable(line: &Value, field: &str) -> String {
    match line["text"].as_str().filter(|text| !text.chars().any(char::is_control)) {
        Some(text) => text.into(),
        None => format!("0x{}", text(line, field)),
    }
}

fn found(peer: &Value) {
    print(text(peer, "peer_id"));
    list(peer, "addrs").iter().filter_map(Value::as_str).for_each(|addr| print(&format!("  {addr}")));
}

fn summary(line: &Value) {
    let [min, avg, max] = ["min_ms", "avg_ms", "max_ms"].map(|field| millis(line, field));
    let (sent, received) = (&line["sent"], &line["received"]);
    print(&format!("{received} of {sent} answered; shortest {min}, mean {avg}, longest {max} ms"));
}

fn millis(line: &Value, field: &str) -> String {
    format!("{:.3}", line[field].as_f64().unwrap_or_default())
}

fn topic(topic: &Value) {
    let (name, mesh, peers) = (text(topic, "topic"), &topic["mesh"], &topic["peers"]);
    print(&format!("{name}  {mesh} in the mesh of {peers} peers"));
}

fn subscriber(peer: &Value) {
    let mesh = if peer["mesh"] == Value::Bool(true) { "  in the mesh" } else { "" };
    print(&format!("{}  {}{mesh}", text(peer, "peer_id"), text(peer, "topic")));
}

fn identity(line: &Value) {
    for field in ["peer_id", "agent", "protocol_version", "observed_addr"] {
        print(&format!("{:<18}{}", field.replace('_', " "), text(line, field)));
    }
    for field in ["addrs", "protocols"] {
        for (n, one) in list(line, field).iter().filter_map(Value::as_str).enumerate() {
            print(&format!("{:<18}{one}", if n == 0 { field } else { "" }));
        }
    }
}
