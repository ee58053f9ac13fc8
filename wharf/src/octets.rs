//! Bytes as people write them: hex digits, ids and text.

use std::io::Read;
use std::str::FromStr;

use cid::Cid;
use cid::multibase::Base;
use registry_core::PeerId;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What stands before hex digits.
const HEX: &str = "0x";
/// A peer id in base58 is at least so long; a shorter word that looks like one is text.
const MIN_PEER_ID: usize = 40;
/// More does not fit into a record or a message, whatever the peers are.
const MAX_STDIN: u64 = 64 * 1024;

/// Bytes that travel and are shown as hex digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Octets(pub(crate) Vec<u8>);

impl Octets {
    fn parse_hex(digits: &str) -> Result<Self, &'static str> {
        Base::Base16Lower.decode(digits.to_ascii_lowercase()).map(Self).map_err(|_| "not pairs of hex digits")
    }

    /// The text, when it is some.
    pub(crate) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl std::fmt::Display for Octets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&Base::Base16Lower.encode(&self.0))
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse_hex(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// A key of the DHT.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Key(pub(crate) Octets);

impl FromStr for Key {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err("is empty");
        }
        if let Some(digits) = text.strip_prefix(HEX) {
            return Octets::parse_hex(digits).map(Self);
        }
        let peer = || PeerId::from_str(text).ok().filter(|_| text.len() >= MIN_PEER_ID);
        let bytes = match (Cid::from_str(text), peer()) {
            (Ok(cid), _) => cid.hash().to_bytes(),
            (Err(_), Some(peer)) => peer.as_bytes().to_vec(),
            (Err(_), None) => text.as_bytes().to_vec(),
        };
        Ok(Self(Octets(bytes)))
    }
}

/// A value or a message; `-` has been read from stdin.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Data(pub(crate) Octets);

impl FromStr for Data {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(HEX) {
            Some(digits) => Ok(Self(Octets::parse_hex(digits)?)),
            None if text == "-" => read(std::io::stdin()).map(Self),
            None => Ok(Self(Octets(text.into()))),
        }
    }
}

fn read(from: impl Read) -> Result<Octets, String> {
    let mut bytes = Vec::new();
    from.take(MAX_STDIN + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let fits = bytes.len() as u64 <= MAX_STDIN;
    if fits { Ok(Octets(bytes)) } else { Err(format!("more than {MAX_STDIN} bytes")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Vec<u8> {
        text.parse::<Key>().unwrap().0.0
    }

    #[test]
    fn keys_are_hex_ids_or_text() {
        assert_eq!(key("0x00Ff"), [0, 255]);
        assert_eq!(key("/test/a"), b"/test/a");
        assert_eq!(key("hello"), b"hello");
        assert_eq!(key("15R"), b"15R");
        let peer = PeerId::from_ed25519(&[7; 32]);
        assert_eq!(key(&peer.to_string()), peer.as_bytes());
        // The raw block "hello", in both versions' forms and with any codec: one multihash.
        let hash = registry_core::Digest::of(b"hello").to_multihash();
        assert_eq!(key("bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"), hash);
        assert_eq!(key(&Base::Base58Btc.encode(&hash)), hash);
        for wrong in ["", "0x1", "0xzz"] {
            assert!(wrong.parse::<Key>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn data_is_hex_or_text_and_travels_as_hex() {
        for (text, bytes) in [("0x00ff", &[0, 255][..]), ("0x", b""), ("QmText", b"QmText"), ("", b"")] {
            let data: Data = text.parse().unwrap();
            assert_eq!(data.0.0, bytes);
            let line = serde_json::to_string(&data).unwrap();
            assert_eq!(serde_json::from_str::<Data>(&line).unwrap(), data);
        }
        assert!("0x0".parse::<Data>().is_err());
    }

    #[test]
    fn stdin_is_taken_as_it_is_up_to_a_limit() {
        assert_eq!(read(&b"0x00\n"[..]).unwrap().0, b"0x00\n");
        assert!(read(&vec![0; 64 * 1024][..]).is_ok());
        assert!(read(&vec![0; 64 * 1024 + 1][..]).is_err());
    }
}
