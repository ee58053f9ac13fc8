//! Appending protobuf fields to a buffer, without the copies that a tree of owned messages needs. Field numbers up to 15.

use alloc::vec::Vec;

use crate::wire::varint;

/// A number, an enumeration or a boolean.
pub(crate) fn number(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3);
    varint::write(value, out);
}

/// Bytes, text or an encoded message.
pub(crate) fn bytes(out: &mut Vec<u8>, field: u8, body: &[u8]) {
    head(out, field, body.len());
    out.extend_from_slice(body);
}

/// What stands before a message of so many bytes.
pub(crate) fn head(out: &mut Vec<u8>, field: u8, len: usize) {
    out.push(field << 3 | 2);
    varint::write(len as u64, out);
}

/// Bytes a number takes with its tag.
pub(crate) const fn number_len(value: u64) -> usize {
    1 + varint::len(value)
}

/// Bytes a body of so many bytes takes with its tag and length.
pub(crate) const fn bytes_len(len: usize) -> usize {
    1 + varint::len(len as u64) + len
}
