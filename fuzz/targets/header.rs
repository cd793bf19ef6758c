//! Any bytes as a header and as recovery data, also with check sums that fit: refused, or written again as the very same
//! bytes; and what is opened by such a header is opened or refused.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use snapkeep::archive::Archive;
use snapkeep::format::{HEADER_BLOCK_LEN, Header, names};
use snapkeep::parity::Parity;
use snapkeep::store::{Memory, Store};

fuzz_target!(|bytes: &[u8]| {
    header(bytes);
    // Whatever is left of it, nothing but a block whose hash fits counts.
    if let Ok(salvaged) = Header::salvage(&[bytes]) {
        assert!(Header::decode(&salvaged.encode()).is_ok_and(|again| again == salvaged));
    }
    if bytes.len() >= HEADER_BLOCK_LEN - 32 {
        let rest = &bytes[..HEADER_BLOCK_LEN - 32];
        let whole = [rest, blake3::hash(rest).as_bytes()].concat().repeat(8);
        if header(&whole) {
            let store = Memory::new();
            store.put_new(names::HEADERS[1], &[&whole]).expect("it is put");
            assert!(Archive::open(Arc::new(store), None, Arc::new(|_| {})).is_ok());
        }
    }
    parity(bytes);
    // A head whose sum fits, twice, as in recovery data of which everything else is as it comes.
    if let Some((head, shards)) = bytes.split_at_checked(bytes.len().min(28 + 16 * 4)) {
        let hash = blake3::hash(head);
        let sum = &hash.as_bytes()[..16];
        let len = (head.len() + 16) as u32;
        parity(&[head, sum, shards, head, sum, &len.to_le_bytes()].concat());
    }
});

fn header(bytes: &[u8]) -> bool {
    let Ok(header) = Header::decode(bytes) else { return false };
    assert!(header.encode() == bytes, "it has two encodings");
    assert!(header.chunker.min <= header.chunker.average && header.chunker.average <= header.chunker.max);
    true
}

fn parity(bytes: &[u8]) {
    let Ok(parity) = Parity::from_bytes(bytes) else { return };
    let again = parity.to_bytes();
    if parity.is_whole() {
        assert!(again == bytes, "it has two encodings");
    }
    assert!(again.len() <= 2 * bytes.len() + 64, "more is made of it than there is");
}
