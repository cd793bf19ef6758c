//! Regions of files made of ISO boxes: HEIC, AVIF, CR3, MP4, MOV.
//!
//! Programs that write tags rewrite `moov` or `meta`, often move it before or behind `mdat`, and correct the offsets in
//! it. What `mdat` holds stays as it is, so it begins a region wherever its header stands. Of a still picture `mdat` also
//! holds the tags: they are told apart by `meta`'s list of items.

use std::io;

use super::RegionKind;
use super::bytes::{Window, be};
use super::cuts::Cuts;
use super::facts::Look;

/// A box of metadata is a region of its own from this size on, as in a JPEG.
const LARGE: u64 = 1 << 10;

/// A box of unknown kind is cut by content from this size on.
const HUGE: u64 = 256 << 10;

const MAX_BOXES: usize = 4096;
const MAX_ITEMS: u64 = 1 << 14;

/// The longest `meta` that is searched for items.
const MAX_META: u64 = 1 << 20;

/// One box: its name, its first byte, where its content begins, and its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Box4 {
    pub(super) name: [u8; 4],
    pub(super) start: u64,
    pub(super) content: u64,
    pub(super) end: u64,
}

/// Where one item of a still picture lies in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) kind: [u8; 4],
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Cuts the boxes from [`Cuts::at`] on. From the first one that does not fit, the file is left to be cut by content.
pub(super) fn cut(window: &mut Window<'_>, cuts: &mut Cuts, limit: u64) -> io::Result<()> {
    let first = cuts.at();
    let tags = tag_items(window, first, limit)?;
    let mut at = first;
    // Small boxes, and the headers of the others, gather before `at` until a region begins.
    for _ in 0..MAX_BOXES {
        let Some(found) = next_box(window, at, limit)? else {
            cuts.to(at, RegionKind::Metadata);
            return Ok(());
        };
        let size = found.end.min(limit) - found.start;
        let whole = found.end <= limit;
        at = found.end;
        match &found.name {
            // Its parts are cut as if they stood at the top.
            b"moov" if whole => at = found.content,
            b"mdat" => {
                cuts.to(found.content, RegionKind::Metadata);
                payload(cuts, found.end.min(limit), &tags);
            }
            _ if !whole => {
                cuts.to(found.start, RegionKind::Metadata);
                return Ok(());
            }
            b"meta" | b"trak" | b"udta" | b"free" | b"skip" if size >= LARGE => region(cuts, &found),
            _ if size >= HUGE => {
                cuts.to(found.content, RegionKind::Metadata);
                cuts.to(found.end, RegionKind::Content);
            }
            _ if size >= LARGE => region(cuts, &found),
            _ => {}
        }
    }
    Ok(())
}

fn region(cuts: &mut Cuts, found: &Box4) {
    cuts.to(found.start, RegionKind::Metadata);
    cuts.to(found.end, RegionKind::Metadata);
}

/// Cuts the content of `mdat`, which begins at [`Cuts::at`]: the tags in it apart from the rest.
fn payload(cuts: &mut Cuts, end: u64, tags: &[Item]) {
    for tag in tags.iter().filter(|tag| tag.end <= end) {
        if tag.start >= cuts.at() {
            cuts.to(tag.start, RegionKind::Content);
            cuts.to(tag.end, RegionKind::Metadata);
        }
    }
    cuts.to(end, RegionKind::Content);
}

/// The box at `at`; its end may lie beyond `limit`. `None` if there is none, or nothing that looks like one.
pub(super) fn next_box(window: &mut Window<'_>, at: u64, limit: u64) -> io::Result<Option<Box4>> {
    if at >= limit || limit - at < 8 {
        return Ok(None);
    }
    let Some(head) = window.array::<8>(at)? else { return Ok(None) };
    let name = [head[4], head[5], head[6], head[7]];
    // QuickTime's own names begin with a copyright sign.
    if !name.iter().all(|&byte| matches!(byte, b' '..=b'~' | 0xa9)) {
        return Ok(None);
    }
    let (content, size) = match be(&head[..4]) {
        0 => (at + 8, limit - at),
        1 => match window.get(at + 8, 8)?.map(be) {
            Some(size) => (at + 16, size),
            None => return Ok(None),
        },
        size => (at + 8, size),
    };
    let end = at.saturating_add(size);
    Ok((end >= content && content <= limit).then_some(Box4 { name, start: at, content, end }))
}

/// The first box called `name` between `at` and `limit`, if it is whole.
pub(super) fn find(window: &mut Window<'_>, mut at: u64, limit: u64, name: &[u8; 4]) -> io::Result<Option<Box4>> {
    for _ in 0..MAX_BOXES {
        match next_box(window, at, limit)? {
            Some(found) if found.end > limit => return Ok(None),
            Some(found) if &found.name == name => return Ok(Some(found)),
            Some(found) => at = found.end,
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// The parts of `mdat` that hold tags, in order and apart from each other; none if that is not sure.
fn tag_items(window: &mut Window<'_>, at: u64, limit: u64) -> io::Result<Vec<Item>> {
    let Some(meta) = find(window, at, limit, b"meta")? else { return Ok(Vec::new()) };
    // Offsets count from the start of the file, which is not where a trailing video begins.
    if at != 0 {
        return Ok(Vec::new());
    }
    let mut tags = items(window, &meta)?;
    tags.retain(|item| matches!(&item.kind, b"Exif" | b"mime" | b"uri ") && item.start < item.end);
    tags.sort_by_key(|item| item.start);
    let apart = tags.windows(2).all(|pair| pair[0].end <= pair[1].start);
    Ok(if apart { tags } else { Vec::new() })
}

/// The items of tags that `meta` lists and that lie in the file in one piece.
pub(super) fn items(window: &mut Window<'_>, meta: &Box4) -> io::Result<Vec<Item>> {
    let body = meta.content + 4;
    if meta.end - meta.start > MAX_META {
        return Ok(Vec::new());
    }
    let Some(places) = find(window, body, meta.end, b"iloc")? else { return Ok(Vec::new()) };
    let Some(names) = find(window, body, meta.end, b"iinf")? else { return Ok(Vec::new()) };
    let kinds = item_kinds(window, &names)?;
    let Some(places) = window.copy(places.content, (places.end - places.content) as usize)? else {
        return Ok(Vec::new());
    };
    let item = |(id, start, end)| {
        let (_, kind) = kinds.iter().find(|(other, _)| *other == id)?;
        Some(Item { kind: *kind, start, end })
    };
    Ok(item_places(&places).unwrap_or_default().into_iter().filter_map(item).collect())
}

/// Size and EXIF of a still picture.
pub(super) fn look(window: &mut Window<'_>) -> io::Result<Look> {
    let mut found = Look::default();
    let limit = window.len();
    let Some(meta) = find(window, 0, limit, b"meta")? else { return Ok(found) };
    if let Some(item) = items(window, &meta)?.iter().find(|item| &item.kind == b"Exif")
        && let Some(skip) = window.get(item.start, 4)?.map(be)
    {
        found.exif = Some(item.start + 4 + skip);
    }
    let Some(properties) = find(window, meta.content + 4, meta.end, b"iprp")? else { return Ok(found) };
    let Some(properties) = find(window, properties.content, properties.end, b"ipco")? else { return Ok(found) };
    let mut at = properties.content;
    while let Some(next) = next_box(window, at, properties.end)? {
        // The picture is larger than its tiles and thumbnails.
        if &next.name == b"ispe"
            && let Some(size) = window.get(next.content + 4, 8)?.map(|size| (be(&size[..4]), be(&size[4..])))
            && found.size.is_none_or(|(width, height)| size.0 * size.1 > width * height)
        {
            found.size = Some(size);
        }
        at = next.end;
    }
    Ok(found)
}

/// The id and kind of each item that is not a coded picture: those are the few that are asked for.
fn item_kinds(window: &mut Window<'_>, iinf: &Box4) -> io::Result<Vec<(u64, [u8; 4])>> {
    let mut kinds = Vec::new();
    let Some(version) = window.get(iinf.content, 1)?.map(be) else { return Ok(kinds) };
    let mut at = iinf.content + if version == 0 { 6 } else { 8 };
    for _ in 0..MAX_ITEMS {
        let Some(entry) = next_box(window, at, iinf.end)? else { break };
        if entry.end > iinf.end {
            break;
        }
        at = entry.end;
        let Some(version) = window.get(entry.content, 1)?.map(be) else { break };
        let wide = if version == 3 { 4 } else { 2 };
        if &entry.name != b"infe" || !(2..=3).contains(&version) {
            continue;
        }
        let Some(id) = window.get(entry.content + 4, wide)?.map(be) else { break };
        let Some(kind) = window.array::<4>(entry.content + 6 + wide as u64)? else { break };
        if matches!(&kind, b"Exif" | b"mime" | b"uri ") && kinds.len() < 64 {
            kinds.push((id, kind));
        }
    }
    Ok(kinds)
}

/// Id, start and end of each item that lies in the file in one piece; `None` if the list does not parse.
fn item_places(iloc: &[u8]) -> Option<Vec<(u64, u64, u64)>> {
    let mut rest = iloc;
    // A number of `wide` bytes; one of no bytes is 0.
    let mut number = |wide: u64| {
        let (head, tail) = rest.split_at_checked(usize::try_from(wide).ok().filter(|wide| *wide <= 8)?)?;
        rest = tail;
        Some(be(head))
    };
    let version = number(1)?;
    number(3)?;
    let sizes = number(2)?;
    let (offset, length, base, index) = (sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15);
    let wide = if version < 2 { 2 } else { 4 };
    let count = number(wide)?;
    let mut extents_left = MAX_ITEMS;
    let mut places = Vec::new();
    for _ in 0..count {
        let id = number(wide)?;
        // Method 0: in the file, counted from its start.
        let method = if version > 0 { number(2)? & 15 } else { 0 };
        let here = number(2)? == 0 && method == 0;
        let base = number(base)?;
        let extents = number(2)?;
        extents_left = extents_left.checked_sub(extents)?;
        for _ in 0..extents {
            if version > 0 {
                number(index)?;
            }
            let start = base.saturating_add(number(offset)?);
            let end = start.saturating_add(number(length)?);
            if here && extents == 1 {
                places.push((id, start, end));
            }
        }
    }
    (version <= 2).then_some(places)
}
