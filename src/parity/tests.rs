//! Parity of damaged, shortened and foreign data, and the stored form.

use super::*;
use proptest::prelude::*;

fn data(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new_keyed(&[7; 32]).finalize_xof().fill(&mut bytes);
    bytes
}

fn made(len: usize, permille: u32) -> (Vec<u8>, Parity) {
    let data = data(len);
    let parity = make(&data, permille).expect("parity");
    (data, parity)
}

fn damage(data: &[u8], run: Range<usize>) -> Vec<u8> {
    let mut damaged = data.to_vec();
    let end = run.end.min(data.len());
    damaged[run.start.min(end)..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
    damaged
}

fn shape(parity: &Parity) -> (u32, u32, u32) {
    (parity.shard_len, parity.data_shards, parity.parity_shards)
}

#[test]
fn shards_fit_the_data() {
    for (len, expected) in [
        (0, (64, 1, 2)),
        (1, (64, 1, 2)),
        (64, (64, 1, 2)),
        (65, (128, 1, 2)),
        (4096, (4096, 1, 2)),
        (4097, (4096, 2, 2)),
        (1 << 20, (4096, 256, 8)),
        (960 * 4096, (4096, 960, 29)),
        (960 * 4096 + 1, (4160, 946, 29)),
        (32 << 20, (34_968_u32.next_multiple_of(64), 959, 29)),
    ] {
        let (data, parity) = made(len, 30);
        assert_eq!(shape(&parity), expected, "{len} bytes");
        assert_eq!(mend(data.clone(), &parity).expect("whole"), Mended { bytes: data, repaired: vec![] });
        assert!(parity.is_whole());
    }
}

#[test]
fn any_burst_up_to_the_limit_is_mended_wherever_it_begins() {
    // Every length at odd offsets in small data; and the lengths around the limit at every offset.
    let (data, parity) = made(13 * 4096 + 77, 300);
    assert_eq!(shape(&parity), (4096, 14, 5));
    let most = parity.survives_burst() as usize;
    assert_eq!(most, 4 * 4096 + 1);
    let mended = |run: Range<usize>| mend(damage(&data, run), &parity);
    for (n, len) in (1..=most).step_by(61).chain([most - 1, most]).enumerate() {
        let from = n * 3571 % data.len();
        assert_eq!(mended(from..from + len).expect("within the limit").bytes, data, "{len} from {from}");
    }
    for from in (0..data.len()).step_by(509).chain([4095, 4096, 4097, data.len() - most, data.len() - 1]) {
        assert_eq!(mended(from..from + most).expect("within the limit").bytes, data, "from {from}");
    }
    // Aligned bursts may be longer by almost a shard; one byte past that is one shard too many.
    assert_eq!(
        mended(4096..4096 * 6).expect("five shards").repaired,
        (1..6).map(|n| n * 4096..(n + 1) * 4096).collect::<Vec<_>>()
    );
    for past in [4096..4096 * 6 + 1, 4095..4096 * 6, 4095..4095 + most + 1] {
        let error = mended(past).expect_err("six shards");
        assert_eq!(error.kind(), Kind::Damaged);
        assert!(
            error.to_string().contains("6 of its 14 pieces are damaged or missing, and only 5 can be mended"),
            "{error}"
        );
    }
}

#[test]
fn every_burst_in_one_shard_is_mended() {
    let (data, parity) = made(30, 30);
    for from in 0..data.len() {
        for to in from + 1..=data.len() {
            let mended = mend(damage(&data, from..to), &parity).expect("two copies");
            assert!(mended.bytes == data && mended.repaired.iter().eq([&(0..30)]));
        }
    }
}

#[test]
fn a_wrong_length_is_mended_as_well() {
    let (data, parity) = made(40 * 4096 + 1234, 100);
    assert_eq!(shape(&parity), (4096, 41, 5));
    for keep in 0..=data.len() {
        if keep % 4096 > 2 && keep % 997 != 0 {
            continue;
        }
        match mend(data[..keep].to_vec(), &parity) {
            Ok(mended) => assert!(mended.bytes == data && keep >= 36 * 4096),
            Err(error) => assert!(error.kind() == Kind::Damaged && keep < 36 * 4096),
        }
    }
    let longer = [&data[..], b"and more"].concat();
    assert_eq!(mend(longer, &parity).expect("cut off").bytes, data);
}

#[test]
fn parity_that_is_damaged_itself_serves_as_far_as_it_goes() {
    let (data, parity) = made(40 * 4096, 100);
    assert_eq!(shape(&parity), (4096, 40, 4));
    let stored = parity.to_bytes();
    let head = 44 + 16 * 44;
    assert_eq!(stored.len(), 2 * head + 4 * 4096 + 4);
    assert_eq!(Parity::from_bytes(&stored).expect("whole"), parity);
    // A flip anywhere costs one parity shard at most, and does not go unnoticed.
    let three = damage(&data, 5 * 4096..8 * 4096);
    for at in (0..head).chain((head..stored.len() - head).step_by(301)).chain(stored.len() - head - 5..stored.len()) {
        let parity = Parity::from_bytes(&damage(&stored, at..at + 1)).expect("a head is whole");
        assert!(!parity.is_whole(), "a flip at {at}");
        assert_eq!(mend(three.clone(), &parity).expect("three shards").bytes, data, "a flip at {at}");
    }
    // A parity file that is cut short serves with the shards that are left.
    for (keep, good) in
        [(stored.len() - 1, 4), (head + 4 * 4096, 4), (head + 4 * 4096 - 1, 3), (head + 4096, 1), (head, 0)]
    {
        let parity = Parity::from_bytes(&stored[..keep]).expect("the first head is whole");
        assert!(!parity.is_whole());
        for lost in 0..=5 {
            let result = mend(damage(&data, 4096..4096 * (1 + lost)), &parity);
            assert_eq!(result.is_ok(), lost <= good, "{lost} lost, {good} parity shards");
        }
    }
    let both = damage(&damage(&stored, 30..31), stored.len() - 30..stored.len() - 29);
    assert_eq!(Parity::from_bytes(&both).expect_err("no head").kind(), Kind::Damaged);
}

#[test]
fn parity_of_other_data_is_refused() {
    let (_, parity) = made(100_000, 100);
    assert_eq!(mend(vec![1; 100_000], &parity).expect_err("other data").kind(), Kind::Damaged);
}

/// A head whose own sum is right, around numbers that need not be.
fn claim(total_len: u64, shard_len: u32, data_shards: u32, parity_shards: u32, sums: usize) -> Vec<u8> {
    let mut head = b"PARITY\x01\0".to_vec();
    head.extend(total_len.to_le_bytes());
    head.extend([shard_len, data_shards, parity_shards].into_iter().flat_map(u32::to_le_bytes));
    head.extend(vec![0; 16 * sums]);
    head.extend(sum(&head));
    head
}

#[test]
fn claims_are_checked_before_memory_is_taken() {
    let huge = 1 << 44;
    let damaged = |bytes: &[u8]| Parity::from_bytes(bytes).expect_err("nonsense").kind() == Kind::Damaged;
    assert!(Parity::from_bytes(&claim(64, 64, 1, 1, 2)).is_ok());
    for (total, shard, d, p, sums) in [
        (64, 0, 1, 1, 2),
        (64, 63, 2, 1, 3),
        (64, 128, 1, 1, 2),
        (0, 128, 1, 1, 2),
        (0, 0xffff_ffc0, 1, 1, 2),
        (64, 64, 0, 1, 1),
        (64, 64, 1, 0, 1),
        (64, 64, 2, 1, 3),
        (65, 64, 1, 1, 2),
        (huge, 64, 1, 1, 2),
        (u64::MAX, 0xffff_ffc0, 1, 1, 2),
        (64, 64, 1, 1 << 16, 2),
        (64, 64, 1, u32::MAX, 0), // the number of sums would wrap
        (64, 64, 1, 1, 1),
        (64 << 20, 64, 1 << 20, 1, 2),
    ] {
        assert!(damaged(&claim(total, shard, d, p, sums)), "{total} {shard} {d} {p}");
    }
    // Numbers that fit each other, but data that are not there: terabytes are lost, and nothing is allocated.
    let parity = Parity::from_bytes(&claim(1 << 42, 1 << 30, 4096, 32_768, 4096 + 32_768)).expect("it makes sense");
    let error = mend(data(1000), &parity).expect_err("nothing to mend with");
    assert!(error.to_string().contains("4096 of its 4096 pieces"), "{error}");
}

#[test]
fn another_version_is_refused_by_its_name() {
    let mut stored = made(1000, 30).1.to_bytes();
    let head = 44 + 16 * 3;
    let second = stored.len() - 4 - head;
    stored[6] = 2;
    stored[second + 6] = 2;
    let error = Parity::from_bytes(&stored).expect_err("version 2");
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("version 2"));
    for len in 0..100 {
        assert!(Parity::from_bytes(&vec![0; len]).is_err());
    }
}

#[test]
fn the_code_makes_what_it_made() {
    // Parity lies beside packs for years, and a changed code would silently be of no use to them: the library is pinned, and
    // this hash says that its bytes are those of version 1. They may not change without a new version.
    let mut hasher = blake3::Hasher::new();
    for (len, permille) in
        [(0, 30), (100, 30), (5000, 30), (300_000, 30), (300_000, 1000), (5_000_000, 30), (5_000_000, 200)]
    {
        hasher.update(&made(len, permille).1.to_bytes());
    }
    assert_eq!(hasher.finalize().to_hex().as_str(), "52216a1ab856bc56d759c407e1e65da989e09657945e96bda6610aa09a7af8d3");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damage_within_the_limit_is_mended_and_beyond_is_an_error(
        len in 0usize..200_000,
        permille in 0u32..1200,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..12),
        scars in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 0..3),
    ) {
        let (data, parity) = made(len, permille);
        let mut damaged = data.clone();
        for (at, change) in flips.iter().filter(|_| len > 0) {
            damaged[at.index(len)] ^= change;
        }
        let mut stored = parity.to_bytes();
        for (at, change) in scars {
            let at = at.index(stored.len());
            stored[at] ^= change;
        }
        if let Ok(parity) = Parity::from_bytes(&stored) {
            let shard = parity.shard_len as usize;
            let differs = |n: &usize| damaged[n * shard..len.min((n + 1) * shard)] != data[n * shard..len.min((n + 1) * shard)];
            let lost = (0..len.div_ceil(shard)).filter(differs).count();
            match mend(damaged, &parity) {
                Ok(mended) => prop_assert!(mended.bytes == data && mended.repaired.len() == lost),
                Err(error) => prop_assert!(error.kind() == Kind::Damaged && lost > parity.good_parity().count()),
            }
        }
    }

    #[test]
    fn hostile_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), from in 0usize..100) {
        let good = made(50, 30).1.to_bytes();
        bytes.truncate(good.len().saturating_sub(from));
        let mut stored = good;
        stored[from..from + bytes.len()].copy_from_slice(&bytes);
        if let Ok(parity) = Parity::from_bytes(&stored) {
            _ = mend(bytes, &parity);
        }
    }
}
