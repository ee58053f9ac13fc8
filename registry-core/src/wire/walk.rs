//! A protobuf field walker: it slices a message into its fields without allocating, so that entries are counted and
//! measured before a decoder makes anything of them, and so that fields this node does not know keep their bytes.

use crate::wire::{WireError, varint};

/// One field as it stands in its message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) number: u64,
    /// Tag and value.
    pub(crate) raw: &'a [u8],
    /// The value of a length-delimited field.
    body: Option<&'a [u8]>,
}

impl<'a> Field<'a> {
    /// The value, when it is length-delimited: bytes, text or a message.
    pub(crate) fn body(&self) -> Result<&'a [u8], WireError> {
        self.body.ok_or(WireError::Encoding)
    }
}

/// The fields of a message, in their order; ends behind the first error. Groups are refused, so nothing recurses.
pub(crate) fn fields(message: &[u8]) -> impl Iterator<Item = Result<Field<'_>, WireError>> {
    let mut rest = message;
    core::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = first(rest);
        rest = field.as_ref().ok().and_then(|field| rest.get(field.raw.len()..)).unwrap_or_default();
        Some(field)
    })
}

fn first(bytes: &[u8]) -> Result<Field<'_>, WireError> {
    let (tag, tag_len) = number(bytes)?;
    let after = &bytes[tag_len..];
    let (prefix, value_len) = match tag & 7 {
        0 => (0, number(after)?.1 as u64),
        1 => (0, 8),
        2 => number(after).map(|(len, prefix)| (prefix, len))?,
        5 => (0, 4),
        _ => return Err(WireError::Encoding),
    };
    let value_len = usize::try_from(value_len).map_err(|_| WireError::Truncated)?;
    let value = after[prefix..].get(..value_len).ok_or(WireError::Truncated)?;
    let body = (tag & 7 == 2).then_some(value);
    match tag >> 3 {
        0 => Err(WireError::Encoding),
        number => Ok(Field { number, raw: &bytes[..tag_len + prefix + value_len], body }),
    }
}

fn number(bytes: &[u8]) -> Result<(u64, usize), WireError> {
    varint::read(bytes)?.ok_or(WireError::Truncated)
}

/// Takes one from a budget of entries.
pub(crate) fn spend(budget: &mut usize) -> Result<(), WireError> {
    *budget = budget.checked_sub(1).ok_or(WireError::TooMany)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn fields_keep_their_bytes() {
        let message = [0x08, 0x05, 0x12, 0x02, b'a', b'b', 0x1d, 1, 2, 3, 4, 0x21, 1, 2, 3, 4, 5, 6, 7, 8];
        let found: Vec<_> = fields(&message).map(|field| field.unwrap()).collect();
        assert_eq!(found.iter().map(|field| field.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(found.iter().flat_map(|field| field.raw).copied().collect::<Vec<_>>(), message);
        assert_eq!(found[1].body(), Ok(&b"ab"[..]));
        assert_eq!(found[0].body(), Err(WireError::Encoding));
    }

    #[test]
    fn broken_messages_end_in_one_error() {
        for (bytes, error) in [
            (&[0x0a, 0x05, 1][..], WireError::Truncated),
            (&[0x08], WireError::Truncated),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], WireError::Truncated),
            (&[0x0b, 0x0c], WireError::Encoding),
            (&[0x00, 0x00], WireError::Encoding),
        ] {
            let found: Vec<_> = fields(bytes).collect();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].as_ref().unwrap_err(), &error);
        }
    }
}
