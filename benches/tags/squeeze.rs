//! What recompression saves of real photos, and what it costs of one core's time, beside the library alone.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use lepton_jpeg::{EnabledFeatures, SingleThreadPool, decode_lepton, encode_lepton};
use snapkeep::codec;
use snapkeep::media::{self, RegionKind};

use crate::folder;

/// Shorter files are no camera's photos.
const LEAST: u64 = 500_000;

/// Bytes in, bytes out, and time.
#[derive(Default)]
struct Sum {
    plain: usize,
    stored: usize,
    encode: Duration,
    decode: Duration,
}

/// The time that this thread has had a core to itself, so that others who are at work count for less.
fn busy() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// A table of the JPEGs in a folder.
pub fn measure(dir: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", dir.display());
    let (mut whole, mut ours, mut library) = (Sum::default(), Sum::default(), Sum::default());
    let (mut files, mut images, mut declined) = (0, 0, 0);
    for (path, len) in folder::files(dir).map_err(failed)? {
        let file = fs::read(&path).map_err(failed)?;
        if len <= LEAST || media::format(&&file[..]).map_err(failed)? != media::Format::Jpeg {
            continue;
        }
        files += 1;
        whole.plain += file.len();
        for region in media::regions(&&file[..]).map_err(failed)?.unwrap_or_default() {
            let bytes = &file[region.start as usize..][..region.len as usize];
            let begun = busy();
            let packed = (region.kind == RegionKind::JpegImage).then(|| codec::encode_jpeg(bytes));
            let Some(Some(packed)) = packed else {
                declined += usize::from(packed.is_some());
                whole.stored += codec::encode(bytes, &codec::Choice::default()).bytes.len();
                continue;
            };
            ours.encode += busy() - begun;
            images += 1;
            let begun = busy();
            let back = codec::decode(packed.codec.number(), packed.version, &packed.bytes, bytes.len());
            ours.decode += busy() - begun;
            if back.map_err(|error| error.to_string())? != bytes {
                return Err(format!("{}: another image came back", path.display()));
            }
            (ours.plain, ours.stored) = (ours.plain + bytes.len(), ours.stored + packed.bytes.len());
            whole.stored += packed.bytes.len();
            alone(&[&[0xff, 0xd8], bytes].concat(), &mut library).map_err(|error| format!("{error}"))?;
        }
    }
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let percent = |sum: &Sum| 100.0 * sum.stored as f64 / sum.plain.max(1) as f64;
    let mut text = format!("\n## {name}: {files} JPEGs of more than 500 kB, {:.1} MB\n\n", whole.plain as f64 / 1e6);
    text += &format!(
        "Stored after squeezing, metadata included: {:.1} % of the files. Images squeezed: {images}, declined: {declined}.\n\n",
        percent(&whole)
    );
    text += "| of one core's time | stored | encode MB/s | decode MB/s |\n|---|--:|--:|--:|\n";
    let rate = |sum: &Sum, time: Duration| sum.plain as f64 / 1e6 / time.as_secs_f64().max(1e-9);
    for (name, sum) in
        [("as snap does it, each image decoded again and compared", &ours), ("lepton_jpeg alone", &library)]
    {
        let (encode, decode) = (rate(sum, sum.encode), rate(sum, sum.decode));
        text += &format!("| {name} | {:.1} % | {encode:.1} | {decode:.1} |\n", percent(sum));
    }
    Ok(text)
}

/// The library as it comes, without a check.
fn alone(jpeg: &[u8], sum: &mut Sum) -> Result<(), lepton_jpeg::LeptonError> {
    let (features, pool) = (EnabledFeatures::compat_lepton_vector_write(), SingleThreadPool {});
    let mut stream = Cursor::new(Vec::new());
    let begun = busy();
    encode_lepton(&mut Cursor::new(jpeg), &mut stream, &features, &pool)?;
    sum.encode += busy() - begun;
    let stream = stream.into_inner();
    let mut back = Vec::new();
    let begun = busy();
    decode_lepton(&mut Cursor::new(&stream), &mut back, &EnabledFeatures::compat_lepton_vector_read(), &pool)?;
    sum.decode += busy() - begun;
    (sum.plain, sum.stored) = (sum.plain + jpeg.len(), sum.stored + stream.len());
    Ok(())
}
