//! The protobuf of DAG-PB and UnixFS. DAG-PB fixes an order of fields (links before data) that no derive produces.

use alloc::vec::Vec;

use super::UnixfsError;

/// A field's value in one of the two wire types that occur here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(super) fn varint(self) -> Result<u64, UnixfsError> {
        match self {
            Self::Varint(value) => Ok(value),
            Self::Bytes(_) => Err(UnixfsError::Encoding),
        }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], UnixfsError> {
        match self {
            Self::Bytes(value) => Ok(value),
            Self::Varint(_) => Err(UnixfsError::Encoding),
        }
    }
}

/// Reads the fields of a message one after the other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next field's number and value; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, UnixfsError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| UnixfsError::Encoding)?;
                let (value, rest) = self.0.split_at_checked(len).ok_or(UnixfsError::Encoding)?;
                self.0 = rest;
                Value::Bytes(value)
            }
            _ => return Err(UnixfsError::Encoding),
        };
        Ok(Some((key >> 3, value)))
    }

    fn varint(&mut self) -> Result<u64, UnixfsError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(UnixfsError::Encoding)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(UnixfsError::Encoding);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(UnixfsError::Encoding)
    }
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_varint_field(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(field << 3);
    put_varint(out, value);
}

pub(super) fn put_bytes_field(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    out.push(field << 3 | 2);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

/// Field numbers of DAG-PB and UnixFS.
pub(super) mod field {
    pub(in super::super) const NODE_DATA: u8 = 1;
    pub(in super::super) const NODE_LINK: u8 = 2;
    pub(in super::super) const LINK_HASH: u8 = 1;
    pub(in super::super) const LINK_NAME: u8 = 2;
    pub(in super::super) const LINK_TSIZE: u8 = 3;
    pub(in super::super) const FS_TYPE: u8 = 1;
    pub(in super::super) const FS_DATA: u8 = 2;
    pub(in super::super) const FS_FILESIZE: u8 = 3;
    pub(in super::super) const FS_BLOCKSIZES: u8 = 4;
}

/// UnixFS `DataType`.
pub(super) mod kind {
    pub(in super::super) const RAW: u64 = 0;
    pub(in super::super) const DIRECTORY: u64 = 1;
    pub(in super::super) const FILE: u64 = 2;
}
