//! Any bytes as recovery data beside any others: mending gives bytes for which the recovery data was made, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use snapkeep::parity::{self, Parity};

fuzz_target!(|bytes: &[u8]| {
    // As they are stored: any recovery data, beside any bytes.
    let (len, rest) = bytes.split_first().map_or((0, bytes), |(len, rest)| (usize::from(*len) * 64, rest));
    let (stored, data) = rest.split_at(len.min(rest.len()));
    for stored in [stored, rest] {
        if let Ok(parity) = Parity::from_bytes(stored)
            && let Ok(mended) = parity::mend(data.to_vec(), &parity)
        {
            assert!(parity.fits(&mended.bytes), "it was mended to something else");
        }
    }
    // As they are after damage: the true recovery data, and a run of bytes that is lost.
    let parity = parity::make(data, 100 + len as u32 % 900).expect("any bytes have recovery data");
    assert!(parity.is_whole() && parity.fits(data));
    let mut damaged = data.to_vec();
    let lost = damaged.len().min(usize::try_from(parity.survives_burst()).unwrap_or(usize::MAX));
    let start = len % (damaged.len() - lost + 1);
    damaged[start..start + lost].iter_mut().for_each(|byte| *byte = !*byte);
    assert!(parity::mend(damaged, &parity).expect("so much can be mended").bytes == data);
});
