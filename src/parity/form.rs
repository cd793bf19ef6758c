//! Parity as stored bytes.
//!
//! All numbers are little-endian. `d` data shards, `p` parity shards, `s` bytes a shard.
//!
//! | bytes | field |
//! |---|---|
//! | `h = 44 + 16 (d + p)` | head |
//! | `p s` | parity shards 0, 1, … |
//! | `h` | head again |
//! | 4 | `h`, so that the second head is found from the end |
//!
//! Head:
//!
//! | at | bytes | field |
//! |---|---|---|
//! | 0 | 6 | `PARITY` |
//! | 6 | 2 | version, 1 |
//! | 8 | 8 | length of the data |
//! | 16 | 4 | `s`, a multiple of 64, not 0; less than 64 more than the data (64 if there are none) |
//! | 20 | 4 | `d`, 1 to 32,768: the length of the data divided by `s` and rounded up; 1 if there are no data |
//! | 24 | 4 | `p`, 1 to 32,768 |
//! | 28 | 16 d | sum of each data shard (the last one filled up with zeros): first 16 bytes of its BLAKE3 hash |
//! | | 16 p | sum of each parity shard, likewise |
//! | | 16 | first 16 bytes of the BLAKE3 hash of the head up to here |
//!
//! Either head is enough to mend. With the first one, any number of bytes may also be missing at the end.
//!
//! The code of version 1 is the one known as Leopard, over GF(2^16) with the polynomial 0x1002D in the Cantor basis. Of
//! every 64 bytes of a shard, the first 32 are the low and the last 32 the high bytes of 32 numbers. The parity shards
//! are `FFT(IFFT(chunk 0) + IFFT(chunk 1) + …)`, where a chunk is as many data shards as the next power of two of `p` (the
//! last one filled up with zeros), and of the result the first `p` shards are kept ("high rate", whatever `d` and `p` are).

use super::{GRAIN, Parity, Sum, short};
use crate::error::{Error, Kind, Result};

const MAGIC: &[u8; 6] = b"PARITY";
const VERSION: u16 = 1;
const MOST: u32 = 1 << 15;
const FIXED: usize = 28;
const SUM: usize = size_of::<Sum>();
const READING: &str = "reading parity";

impl Parity {
    /// The stored bytes. Of a damaged parity, they are as damaged.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(FIXED + SUM * (self.sums.len() + 1));
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&self.total_len.to_le_bytes());
        head.extend_from_slice(&self.shard_len.to_le_bytes());
        head.extend_from_slice(&self.data_shards.to_le_bytes());
        head.extend_from_slice(&self.parity_shards.to_le_bytes());
        head.extend_from_slice(self.sums.as_flattened());
        let check = short(blake3::hash(&head));
        head.extend_from_slice(&check);

        let mut bytes = Vec::with_capacity(2 * head.len() + self.shards.len() + 4);
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&self.shards);
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&(head.len() as u32).to_le_bytes());
        bytes
    }

    /// Reads stored bytes, of which some may be damaged ([`Parity::is_whole`] tells).
    ///
    /// [`Kind::Unsupported`] if they are of another version, [`Kind::Damaged`] if neither head is whole.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let first = head(bytes);
        // The second head stands as far from the end as it is long, and 4 bytes.
        let second = bytes.split_last_chunk::<4>().and_then(|(rest, len)| {
            let len = u32::from_le_bytes(*len) as usize;
            head(rest.get(rest.len().checked_sub(len)?..)?).filter(|(_, read)| *read == len)
        });
        let (front, same) = (first.is_some(), first == second);
        let Some((mut parity, head_len)) = first.or(second) else {
            return Err(match bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk()) {
                Some((version, _)) if u16::from_le_bytes(*version) != VERSION => {
                    let why = format!("version {} is not known to this program", u16::from_le_bytes(*version));
                    Error::new(Kind::Unsupported, READING, why)
                }
                _ => Error::new(Kind::Damaged, READING, "both of its heads are damaged"),
            });
        };
        let shards_len = u64::from(parity.parity_shards) * u64::from(parity.shard_len);
        let right_len = 2 * head_len as u64 + shards_len + 4 == bytes.len() as u64;
        if !front && !right_len {
            return Err(Error::new(Kind::Damaged, READING, "its first head is damaged, and its length is wrong"));
        }
        let shards = bytes.get(head_len..).unwrap_or_default();
        parity.shards = shards[..shards.len().min(usize::try_from(shards_len).unwrap_or(usize::MAX))].to_vec();
        parity.scarred = !same || !right_len;
        Ok(parity)
    }
}

/// The head that `bytes` begin with, if it is whole and makes sense, and its length. The shards are left out.
fn head(bytes: &[u8]) -> Option<(Parity, usize)> {
    let rest = bytes.strip_prefix(MAGIC)?.strip_prefix(&VERSION.to_le_bytes())?;
    let (total_len, rest) = rest.split_first_chunk()?;
    let (shard_len, rest) = rest.split_first_chunk()?;
    let (data_shards, rest) = rest.split_first_chunk()?;
    let (parity_shards, rest) = rest.split_first_chunk()?;
    let (total_len, shard_len) = (u64::from_le_bytes(*total_len), u32::from_le_bytes(*shard_len));
    let (data_shards, parity_shards) = (u32::from_le_bytes(*data_shards), u32::from_le_bytes(*parity_shards));
    // A shard longer than the data would be memory for nothing.
    let sensible = shard_len > 0
        && u64::from(shard_len) % GRAIN == 0
        && u64::from(shard_len) - GRAIN < total_len.max(1)
        && (1..=MOST).contains(&data_shards)
        && (1..=MOST).contains(&parity_shards)
        && u64::from(data_shards) == total_len.div_ceil(shard_len.into()).max(1);
    if !sensible {
        return None;
    }
    let (sums, check) = rest.split_at_checked(SUM * (data_shards + parity_shards) as usize)?;
    let len = FIXED + sums.len() + SUM;
    if check.first_chunk()? != &short(blake3::hash(&bytes[..len - SUM])) {
        return None;
    }
    let sums: Vec<Sum> = sums.as_chunks().0.to_vec();
    let parity = Parity { total_len, shard_len, data_shards, parity_shards, sums, shards: Vec::new(), scarred: false };
    Some((parity, len))
}
