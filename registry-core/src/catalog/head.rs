//! The signed head of a publisher's log.
//!
//! Body: `{expiry, format: 1, length, network, publisher, root, time, tip}`, times in whole seconds since 1970.

use alloc::string::String;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use crate::catalog::cbor;
use crate::catalog::envelope::{FORMAT, FieldError, Header, StatementError};
use crate::id::{Digest, PublisherId};
use crate::time::{Duration, UnixTime};

/// Bytes of an encoded head with the largest number of signatures.
pub const MAX_HEAD: usize = 2 * 1024;

/// No head is valid for longer, whatever its publisher wishes: a lost key must not freeze a log for ever.
pub const MAX_HEAD_TTL: Duration = Duration::from_secs(366 * 24 * 3600);

/// The end of the year 9999: times beyond it are nonsense and would only invite overflow.
const MAX_TIME_SECS: u64 = 253_402_300_799;

/// What a publisher's log looked like at some time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Of which network.
    pub network: String,
    /// Whose.
    pub publisher: PublisherId,
    /// Entries, at least 1, since an empty log has no head, and less than 2^64 - 1.
    pub length: u64,
    /// Digest of the last entry's body.
    pub tip: Digest,
    /// Root of the Merkle tree (RFC 9162) over the digests of all bodies.
    pub root: Digest,
    /// When it was signed, in whole seconds.
    pub time: UnixTime,
    /// Until when it is fresh, in whole seconds; later than `time` by at most [`MAX_HEAD_TTL`].
    pub expiry: UnixTime,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    expiry: u64,
    format: u64,
    length: u64,
    network: String,
    publisher: ByteArray<32>,
    root: ByteArray<32>,
    time: u64,
    tip: ByteArray<32>,
}

impl Head {
    /// The body to sign (with [`Domain::Head`](crate::catalog::Domain::Head)).
    pub fn to_body(&self) -> Bytes {
        cbor::encode(&Body {
            expiry: self.expiry.as_secs(),
            format: FORMAT,
            length: self.length,
            network: self.network.clone(),
            publisher: ByteArray::new(self.publisher.0.0),
            root: ByteArray::new(self.root.0),
            time: self.time.as_secs(),
            tip: ByteArray::new(self.tip.0),
        })
    }

    /// Parses a body.
    ///
    /// # Errors
    /// When it is not the canonical encoding of a valid head.
    pub fn from_body(body: &[u8]) -> Result<Self, StatementError> {
        Header::read(body)?;
        let body: Body = cbor::decode(body)?;
        let life = body.expiry.saturating_sub(body.time);
        FieldError::unless((1..u64::MAX).contains(&body.length), "length", "must be from 1 to 2^64 - 2")?;
        FieldError::unless(body.expiry <= MAX_TIME_SECS, "expiry", "after the year 9999")?;
        FieldError::unless(life > 0, "expiry", "not later than the time of signing")?;
        FieldError::unless(life <= MAX_HEAD_TTL.as_secs(), "expiry", "more than 366 days after signing")?;
        Ok(Self {
            network: body.network,
            publisher: PublisherId(Digest(body.publisher.into_array())),
            length: body.length,
            tip: Digest(body.tip.into_array()),
            root: Digest(body.root.into_array()),
            time: UnixTime::from_secs(body.time),
            expiry: UnixTime::from_secs(body.expiry),
        })
    }
}
