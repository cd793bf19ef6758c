//! Recovery data for finished bytes: make them, and mend what was damaged.
//!
//! The bytes are divided into shards of equal length, the last one filled up with zeros, and further shards are computed
//! such that any of all these shards can be lost, up to the number of those that were added (Reed–Solomon). A sum of
//! each shard tells which ones are damaged.
//!
//! Invariant: [`mend`] returns bytes in which every shard has the sum that was written down for it, or an error. The sums
//! are as trustworthy as the parity itself, so the caller still holds the result against the name of the object. Nothing
//! here reads or writes anything. Parity is hostile input: memory is bounded by the length of what was handed in,
//! never by what it claims.
//!
//! What is survived, with `p` parity shards of `s` bytes ([`Parity::survives_burst`]): any damage to at most `p` shards,
//! data and parity together; so `p` single flips wherever they are, and any one run of `(p - 1) * s + 1` bytes wherever it
//! begins (`p * s` if it begins where a shard does). Bytes that were inserted or removed in the middle are damage up to the end.

mod form;

use std::ops::Range;

use reed_solomon_simd::engine::DefaultEngine;
use reed_solomon_simd::rate::{HighRateDecoder, HighRateEncoder, RateDecoder, RateEncoder};

use crate::error::{Error, Kind, Result};

/// The most shards that data are divided into by [`make`]: with 64 parity shards just within 1024, so that mending needs
/// no more than a power of two.
const MOST_SHARDS: u64 = 960;

/// Shards are not made shorter than this, unless the data are: it is the sector of a drive, the least that it loses.
const SHORTEST: u64 = 4096;

/// Shards are a multiple of this, as the code works on blocks of this length.
const GRAIN: u64 = 64;

/// The fewest parity shards, so that small data survive a lost sector wherever it begins.
const FEWEST: u64 = 2;

/// How much of every shard is worked on at once; see [`stripes`].
const STRIPE: usize = 4096;

type Sum = [u8; 16];

/// Recovery data for some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parity {
    /// The length of the bytes that it is for.
    total_len: u64,
    /// A multiple of [`GRAIN`].
    shard_len: u32,
    /// At least one, and no more than needed for `total_len`.
    data_shards: u32,
    /// At least one.
    parity_shards: u32,
    /// One of each data shard, then one of each parity shard.
    sums: Vec<Sum>,
    /// The parity shards, one after another; fewer bytes if the end was lost.
    shards: Vec<u8>,
    /// Whether something around the shards was found damaged.
    scarred: bool,
}

/// What came of mending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// The bytes as they once were, if the parity is the right one: to be held against the object's name.
    pub bytes: Vec<u8>,
    /// Which stretches of them were made anew, in order.
    pub repaired: Vec<Range<u64>>,
}

/// Makes recovery data for `data`, of about `permille` thousandths of its length (at most 1000), and of two shards at
/// least. Data of 4 MiB and more are divided into about a thousand shards, shorter data into shards of 4 KiB, still shorter
/// data are one shard, of which the parity is two copies.
///
/// Fails only if the data are longer than 4 TiB.
pub fn make(data: &[u8], permille: u32) -> Result<Parity> {
    let total_len = data.len() as u64;
    let shortest = SHORTEST.min(total_len).max(1);
    let shard_len = total_len.div_ceil(MOST_SHARDS).max(shortest).next_multiple_of(GRAIN);
    let data_shards = total_len.div_ceil(shard_len).max(1);
    let parity_shards = (data_shards * u64::from(permille.min(1000))).div_ceil(1000).max(FEWEST);
    let (Ok(shard_len), Ok(data_shards), Ok(parity_shards)) =
        (u32::try_from(shard_len), u32::try_from(data_shards), u32::try_from(parity_shards))
    else {
        return Err(Error::new(Kind::Invalid, "making parity", "the data are too long"));
    };
    let mut parity = Parity {
        total_len,
        shard_len,
        data_shards,
        parity_shards,
        sums: Vec::with_capacity((data_shards + parity_shards) as usize),
        shards: vec![0; parity_shards as usize * shard_len as usize],
        scarred: false,
    };
    let code = |error: reed_solomon_simd::Error| Error::caused(Kind::Internal, "making parity", error);
    let len = shard_len as usize;
    let whole = data.chunks_exact(len);
    let mut last = whole.remainder().to_vec();
    last.resize(len, 0);
    // There is a last shard that is filled up, unless the data end with a shard, and are not empty.
    let filled = std::iter::once(&last[..]).take(data_shards as usize - whole.len());
    let shards: Vec<&[u8]> = whole.chain(filled).collect();
    let (d, p) = (shards.len(), parity_shards as usize);
    let mut encoder = HighRateEncoder::new(d, p, len.min(STRIPE), DefaultEngine::new(), None).map_err(code)?;
    for stripe in stripes(len) {
        encoder.reset(d, p, stripe.len()).map_err(code)?;
        for shard in &shards {
            encoder.add_original_shard(&shard[stripe.clone()]).map_err(code)?;
        }
        for (n, piece) in encoder.encode().map_err(code)?.recovery_iter().enumerate() {
            parity.shards[n * len..][stripe.clone()].copy_from_slice(piece);
        }
    }
    parity.sums.extend(shards.into_iter().chain(parity.shards.chunks_exact(len)).map(sum));
    Ok(parity)
}

/// Mends `damaged` by its parity. It may also be shorter than it was, or longer.
///
/// [`Kind::Damaged`] if more shards are lost than there are good parity shards.
pub fn mend(damaged: Vec<u8>, parity: &Parity) -> Result<Mended> {
    let len = parity.shard_len as usize;
    let data_shards = parity.data_shards as usize;
    let spare: Vec<(usize, &[u8])> = parity.good_parity().collect();
    let lost: Vec<usize> = (0..data_shards).filter(|n| !parity.is_good(*n, &damaged)).collect();
    if lost.len() > spare.len() {
        let why = format!(
            "{} of its {data_shards} pieces are damaged or missing, and only {} can be mended",
            lost.len(),
            spare.len()
        );
        return Err(Error::new(Kind::Damaged, MENDING, why));
    }
    // Not more than was handed in: what is missing is lost, and no more is lost than there is parity.
    let mut bytes = damaged;
    bytes.truncate(parity.total_len as usize);
    bytes.resize(data_shards * len, 0);
    if !lost.is_empty() {
        let code = |error: reed_solomon_simd::Error| Error::caused(Kind::Internal, MENDING, error);
        let (d, p) = (data_shards, parity.parity_shards as usize);
        let mut decoder = HighRateDecoder::new(d, p, len.min(STRIPE), DefaultEngine::new(), None).map_err(code)?;
        for stripe in stripes(len) {
            decoder.reset(d, p, stripe.len()).map_err(code)?;
            for (n, shard) in bytes.chunks_exact(len).enumerate() {
                if lost.binary_search(&n).is_err() {
                    decoder.add_original_shard(n, &shard[stripe.clone()]).map_err(code)?;
                }
            }
            for (n, shard) in spare.iter().take(lost.len()) {
                decoder.add_recovery_shard(*n, &shard[stripe.clone()]).map_err(code)?;
            }
            for (n, piece) in decoder.decode().map_err(code)?.restored_original_iter() {
                bytes[n * len..][stripe.clone()].copy_from_slice(piece);
            }
        }
        if lost.iter().any(|n| sum(&bytes[n * len..][..len]) != parity.sums[*n]) {
            return Err(Error::new(Kind::Damaged, MENDING, "the parity does not belong to these bytes"));
        }
    }
    bytes.truncate(parity.total_len as usize);
    let stretch = |n: usize| (n * len) as u64..((n + 1) * len).min(bytes.len()) as u64;
    let repaired = lost.into_iter().map(stretch).collect();
    Ok(Mended { bytes, repaired })
}

impl Parity {
    /// The length of the bytes that it is for.
    pub fn total_len(&self) -> u64 {
        self.total_len
    }

    /// How long a run of damaged bytes is always mended, wherever in the data it begins, while the parity is whole.
    pub fn survives_burst(&self) -> u64 {
        u64::from(self.parity_shards - 1) * u64::from(self.shard_len) + 1
    }

    /// Whether it is the parity of exactly these bytes.
    pub fn fits(&self, data: &[u8]) -> bool {
        data.len() as u64 == self.total_len && (0..self.data_shards as usize).all(|n| self.is_good(n, data))
    }

    /// Whether nothing of the parity itself is damaged. If something is, it should be made anew from good data.
    pub fn is_whole(&self) -> bool {
        !self.scarred && self.good_parity().count() == self.parity_shards as usize
    }

    /// The parity shards that are as they were, with their numbers.
    fn good_parity(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let sums = self.sums.get(self.data_shards as usize..).unwrap_or_default();
        let shards = self.shards.chunks_exact(self.shard_len as usize);
        shards
            .zip(sums)
            .enumerate()
            .filter(|(_, (shard, sum_then))| sum(shard) == **sum_then)
            .map(|(n, (shard, _))| (n, shard))
    }

    /// Whether data shard `n` is in `data` as it was.
    fn is_good(&self, n: usize, data: &[u8]) -> bool {
        let len = self.shard_len as usize;
        let end = (self.total_len as usize).min((n + 1) * len);
        let Some(shard) = data.get(n * len..end) else { return false };
        let mut hasher = blake3::Hasher::new();
        hasher.update(shard);
        // What the last shard is filled up with.
        hasher.update(&vec![0; len - shard.len()]);
        self.sums[n] == short(hasher.finalize())
    }
}

/// The code works on a stripe of all shards at once, so that what it works on stays in the processor's cache.
fn stripes(shard_len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..shard_len).step_by(STRIPE).map(move |from| from..shard_len.min(from + STRIPE))
}

const MENDING: &str = "mending by parity";

fn sum(shard: &[u8]) -> Sum {
    short(blake3::hash(shard))
}

/// The first half of a hash.
fn short(hash: blake3::Hash) -> Sum {
    let mut sum = Sum::default();
    sum.copy_from_slice(&hash.as_bytes()[..size_of::<Sum>()]);
    sum
}

#[cfg(test)]
mod tests;
