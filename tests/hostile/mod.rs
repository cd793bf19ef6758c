//! Archives that were made to do harm: whatever is in them, nothing outside the target of a restore is touched, nothing
//! panics, memory stays within bounds, and what is not part of the attack is restored.
//!
//! Every item of the list, and the tests that hold it. Those without a file are here.
//!
//! | item | held by |
//! |---|---|
//! | names: empty, `.`, `..`, `a/b`, NUL, absolute, too long | [`names`]`::names_that_lead_out…`; src/format/tests.rs `names_that_lead_out_of_a_directory_are_refused`; tests/target.rs `hostile_names_are_refused_everywhere` |
//! | names: `a\b`, drive letters, `x:y`, DOS names, leading `-` | [`names`]`::names_that_mean_something_elsewhere…`; tests/target.rs (the same) |
//! | names: of 4 GB | [`trees`]`::claims_of_length…` |
//! | names: duplicates, case and NFC twins | [`names`]`::names_that_are_there_twice…`, `::names_that_look_alike…` |
//! | tree: cycle | cannot be made: a page would have to hold its own hash; src/archive/trees.rs refuses a page that is not of the level that the page above says |
//! | tree: depth | [`trees`]`::directories_without_end…`; [`limits`]; src/op/restore/plan/tests.rs `directories_lie_only_so_deep` |
//! | tree: 10⁹ entries declared | [`trees`]`::claims_of_length…` |
//! | tree: child is not what its parent claims; file chunk posing as a directory or list | [`trees`]`::a_file_is_never_taken_for_a_directory` |
//! | tree: fan-out 2⁴⁰ | [`trees`]`::a_bomb…`; src/op/restore/plan/tests.rs `a_few_kilobytes_cannot_claim…` |
//! | chunk: declared length, decompression bomb | [`packs`]`::frames_that_lie…`; src/codec/zstd.rs `a_frame_that_would_fill_the_memory_is_refused` |
//! | chunk: recompressed image asking for memory | src/codec/jpeg/tests.rs `claims_are_checked_before_memory_is_taken` |
//! | chunk: unknown codec, wrong id, frame of another pack or archive | [`packs`]`::frames_that_lie…` |
//! | link: link then child below it, dangling | [`links`] |
//! | link: target or folder swapped meanwhile | tests/target.rs `nobody_who_swaps_folders…`, `a_link_put_in_the_place_of_a_folder…` |
//! | link: hard link to outside | [`links`]`::names_of_one_file…`; tests/target.rs `a_link_at_the_final_name_is_not_written_through` |
//! | link: root of the restore is a link | [`links`]`::the_target_itself…`: it is the user's own path |
//! | metadata: setuid, `security.*` attributes | tests/target.rs `setuid_bits_come_back_only_with_their_owner`, `attributes_come_back_and_dangerous_ones…` |
//! | metadata: device nodes and other kinds | [`trees`]`::unknown_kinds…` |
//! | metadata: mtime ±2⁶³, uid −1 | [`links`]`::absurd_times…`; tests/target.rs `absurd_times_are_no_reason…` |
//! | pack: directory past the end, overlapping rows | [`packs`]`::directories_of_packs…`; src/format/tests.rs `a_pack_is_found_by_its_trailer_and_by_its_frames`; fuzz target `pack_frames` |
//! | index or segment naming `../../x` | cannot be said: names are made of ids; tests/store_contract.rs `names_that_lead_anywhere_else_are_refused` |
//! | snapshot that is not what its name says | [`packs`]`::a_snapshot_under_another_name…` |
//! | index file with cyclic or random pages | tests/recovery.rs `whatever_the_index_has_become…`, `a_flipped_bit_in_the_index…`; fuzz target `redb_open` |
//! | recovery data with absurd counts | src/parity/tests.rs `claims_are_checked_before_memory_is_taken`; fuzz targets `parity_mend`, `header` |
//! | key slot asking for 4 TB of memory; wrong tags | not yet: sealed archives are specified and not written or read by any program |
//! | claims: 2⁴⁰ directories, a page named thousands of times, four million chunks, counts that are not so, times and numbers at their ends; segments that lie | [`table`], every command, mount among them; src/archive/walk.rs; src/archive/lists.rs |
//! | claims: chunks and lists that many cores hold at once | [`memory`]; src/archive/memory.rs |
//! | claims: what a source really had is not refused | [`table`]`::what_a_source_really_had…`; src/archive/walk.rs |
//! | stop: a wish to stop while a bomb is walked through, or anything else that takes long | [`stop`] |
//! | sources, configuration, completions, another archive for a repair | [`sources`] |
//! | terminal: escapes, line ends, bidirectional marks; JSON | [`terminal`]; src/cli/names.rs |

mod attack;
mod bombs;
mod limits;
mod links;
mod memory;
mod names;
mod packs;
mod sources;
mod stop;
mod table;
mod terminal;
mod trees;
mod whole;
