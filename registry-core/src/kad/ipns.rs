//! IPNS records as far as a DHT server must judge them (IPFS ipns-record specification, K28).

use bytes::Bytes;
use prost::Message as _;
use serde::Deserialize;

use crate::action::SignatureCheck;
use crate::id::{PeerId, is_ed25519_key};
use crate::kad::validator::{Rank, Valid};
use crate::time::{Duration, UnixTime};

/// The longest record, checked before it is parsed.
const MAX_LEN: usize = 10 * 1024;

/// The only validity type there is: the record ends at a time.
const END_OF_LIFE: u64 = 0;

/// Outer fields that repeat signed ones must be equal to them. `signatureV1` (2) is ignored.
#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(bytes = "bytes", optional, tag = "1")]
    value: Option<Bytes>,
    #[prost(uint64, optional, tag = "3")]
    validity_type: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    validity: Option<Bytes>,
    #[prost(uint64, optional, tag = "5")]
    sequence: Option<u64>,
    #[prost(uint64, optional, tag = "6")]
    ttl: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "7")]
    public_key: Option<Bytes>,
    #[prost(bytes = "bytes", tag = "8")]
    signature_v2: Bytes,
    #[prost(bytes = "bytes", tag = "9")]
    data: Bytes,
}

/// The signed DAG-CBOR document.
#[derive(Deserialize)]
struct Data {
    #[serde(rename = "Value", with = "serde_bytes")]
    value: alloc::vec::Vec<u8>,
    #[serde(rename = "ValidityType")]
    validity_type: u64,
    #[serde(rename = "Validity", with = "serde_bytes")]
    validity: alloc::vec::Vec<u8>,
    #[serde(rename = "Sequence")]
    sequence: u64,
    #[serde(rename = "TTL")]
    ttl: u64,
}

/// Checks everything about a record under `/ipns/<name>` but its signature.
pub(super) fn validate(unix: UnixTime, name: &[u8], value: &[u8]) -> Result<Valid, &'static str> {
    if value.len() > MAX_LEN {
        return Err("an IPNS record is at most 10 KiB");
    }
    let name = PeerId::from_bytes(name).map_err(|_| "the key is no IPNS name")?;
    let entry = Entry::decode(value).map_err(|_| "not an IPNS record")?;
    if entry.signature_v2.is_empty() || entry.data.is_empty() {
        return Err("without signatureV2");
    }
    let data: Data = serde_ipld_dagcbor::from_slice(&entry.data).map_err(|_| "the signed data are not DAG-CBOR")?;
    let repeated = entry.value.is_none_or(|value| *value == *data.value)
        && entry.validity_type.is_none_or(|kind| kind == data.validity_type)
        && entry.validity.is_none_or(|validity| *validity == *data.validity)
        && entry.sequence.is_none_or(|sequence| sequence == data.sequence)
        && entry.ttl.is_none_or(|ttl| ttl == data.ttl);
    if !repeated {
        return Err("fields differ from the signed data");
    }
    if data.validity_type != END_OF_LIFE {
        return Err("an unknown kind of validity");
    }
    let end = parse_rfc3339(&data.validity).ok_or("the validity is no time")?;
    if end <= unix {
        return Err("expired");
    }
    let key = match (&entry.public_key, name.inlined_key()) {
        (Some(key), _) => key.clone(),
        (None, Some(key)) => Bytes::copy_from_slice(key),
        (None, None) => return Err("without the public key"),
    };
    if !name.matches_key(&key) {
        return Err("of another key");
    }
    if !is_ed25519_key(&key) {
        return Err("of a kind of key that is not checked here");
    }
    let message = Bytes::from([b"ipns-signature:", &*entry.data].concat());
    let check = SignatureCheck { key, message, signature: entry.signature_v2 };
    Ok(Valid {
        rank: Rank::new(data.sequence, end.as_micros()),
        checks: alloc::vec![check],
        lifetime: Duration::from_micros(end.as_micros().saturating_sub(unix.as_micros())),
    })
}

/// `2033-05-18T03:33:20.000000000Z`: UTC, any number of fractional digits. Years from 1970.
fn parse_rfc3339(text: &[u8]) -> Option<UnixTime> {
    let text = core::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(time, ':', [2, 2, 2])?;
    let valid = (1970..10_000).contains(&year)
        && (1..=days_of_month(year, month)?).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !valid || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let leap_years = |years: u64| years / 4 - years / 100 + years / 400;
    let mut days = (year - 1970) * 365 + leap_years(year - 1) - leap_years(1969) + day - 1;
    for earlier in 1..month {
        days += days_of_month(year, earlier)?;
    }
    let micros = fraction.bytes().chain(core::iter::repeat(b'0')).take(6);
    let micros = micros.fold(0, |micros, digit| micros * 10 + u64::from(digit - b'0'));
    Some(UnixTime::from_micros((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000_000 + micros))
}

fn numbers(text: &str, separator: char, widths: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; 3];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

fn days_of_month(year: u64, month: u64) -> Option<u64> {
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => return None,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use alloc::vec::Vec;
    use serde::Serialize;

    #[derive(Serialize)]
    struct DataOut<'a> {
        #[serde(rename = "TTL")]
        ttl: u64,
        #[serde(rename = "Value", with = "serde_bytes")]
        value: &'a [u8],
        #[serde(rename = "Sequence")]
        sequence: u64,
        #[serde(rename = "Validity", with = "serde_bytes")]
        validity: &'a [u8],
        #[serde(rename = "ValidityType")]
        validity_type: u64,
    }

    fn name() -> PeerId {
        PeerId::from_ed25519(&[7; 32])
    }

    fn entry(sequence: u64, validity: &str) -> Entry {
        let validity = validity.as_bytes();
        let data = DataOut { ttl: 1, value: b"/ipfs/x", sequence, validity, validity_type: 0 };
        let data = serde_ipld_dagcbor::to_vec(&data).unwrap();
        Entry {
            value: Some(Bytes::from_static(b"/ipfs/x")),
            validity: Some(Bytes::copy_from_slice(validity)),
            sequence: Some(sequence),
            signature_v2: Bytes::from_static(b"signature"),
            data: data.into(),
            ..Entry::default()
        }
    }

    fn validate_entry(entry: &Entry) -> Result<Valid, &'static str> {
        let bytes: Vec<u8> = entry.encode_to_vec();
        validate(UnixTime::from_secs(1_000_000_000), name().as_bytes(), &bytes)
    }

    #[test]
    fn a_later_sequence_then_a_later_end_wins() {
        let good = validate_entry(&entry(3, "2033-05-18T03:33:20.000000000Z")).unwrap();
        assert_eq!(good.checks.len(), 1);
        assert_eq!(good.lifetime, Duration::from_secs(1_000_000_000));
        let longer = validate_entry(&entry(3, "2033-05-18T03:33:21Z")).unwrap();
        let higher = validate_entry(&entry(4, "2002-01-01T00:00:00Z")).unwrap();
        assert!(good.rank < longer.rank && longer.rank < higher.rank);
    }

    #[test]
    fn attack_21_expired_and_malformed_records_are_refused() {
        assert_eq!(validate_entry(&entry(3, "2001-01-01T00:00:00Z")), Err("expired"));
        for end in ["", "2033", "2033-05-18", "2033-02-30T00:00:00Z", "2033-13-01T00:00:00Z", "2033-05-18T24:00:00Z"] {
            assert_eq!(validate_entry(&entry(3, end)), Err("the validity is no time"), "{end}");
        }
        let mut unequal = entry(3, "2033-05-18T03:33:20Z");
        unequal.sequence = Some(4);
        assert!(validate_entry(&unequal).is_err());
        let mut unsigned = entry(3, "2033-05-18T03:33:20Z");
        unsigned.signature_v2 = Bytes::new();
        assert!(validate_entry(&unsigned).is_err());
        let mut foreign = entry(3, "2033-05-18T03:33:20Z");
        foreign.public_key = Some(Bytes::from_static(b"another"));
        assert!(validate_entry(&foreign).is_err());
        assert!(validate(UnixTime::from_secs(0), b"nobody", b"").is_err());
        let far = validate_entry(&entry(u64::MAX, "9999-12-31T23:59:60.999999999Z")).unwrap();
        assert!(far.lifetime < Duration::MAX);
    }

    #[test]
    fn attack_19_a_record_under_another_kind_of_key_is_refused_and_not_taken_for_a_forgery() {
        let secp256k1 = [&[0x00, 37, 0x08, 0x02, 0x12, 33][..], &[2; 33]].concat();
        let record = entry(3, "2033-05-18T03:33:20Z").encode_to_vec();
        let refused = validate(UnixTime::from_secs(1_000_000_000), &secp256k1, &record);
        assert_eq!(refused, Err("of a kind of key that is not checked here"));
    }
}
