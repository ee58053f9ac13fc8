//! Strict DAG-CBOR: one value has one encoding, so that a digest of bytes is a digest of meaning.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use bytes::Bytes;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::catalog::StatementError;

/// Encodes a value of this crate's own types, none of which can fail to encode.
pub(crate) fn encode<T: Serialize>(value: &T) -> Bytes {
    Bytes::from(serde_ipld_dagcbor::to_vec(value).expect("maps with text keys, byte strings and integers encode"))
}

/// Decodes and refuses whatever would not be encoded to the same bytes again.
pub(crate) fn decode<'a, T: Deserialize<'a> + Serialize>(bytes: &'a [u8]) -> Result<T, StatementError> {
    let value: T = serde_ipld_dagcbor::from_slice(bytes).map_err(|_| StatementError::Encoding)?;
    let canonical = serde_ipld_dagcbor::to_vec(&value).is_ok_and(|again| again == bytes);
    if canonical { Ok(value) } else { Err(StatementError::Encoding) }
}

/// For `deserialize_with`: a list of at most `MAX` entries, refused before more are read or memory is reserved.
pub(crate) fn list<'de, D, T, const MAX: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct AtMost<T, const MAX: usize>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for AtMost<T, MAX> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MAX} entries")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
            if entries.size_hint().is_some_and(|len| len > MAX) {
                return Err(A::Error::custom("too many entries"));
            }
            let mut list = Vec::new();
            while let Some(entry) = entries.next_element()? {
                if list.len() == MAX {
                    return Err(A::Error::custom("too many entries"));
                }
                list.push(entry);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(AtMost::<T, MAX>(PhantomData))
}

/// A list behind the limit of [`list`], for places where no `deserialize_with` fits.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct List<T, const MAX: usize>(pub(crate) Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        list::<D, T, MAX>(deserializer).map(Self)
    }
}
