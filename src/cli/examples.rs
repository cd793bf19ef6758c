//! What the help shows before the options: two examples of each command, where the configuration lies, and for the whole
//! program its commands by what they are for. It fits an ordinary terminal, so that nobody has to scroll for it.

use std::fmt::Write as _;

use clap::Command;

use super::{names, places};

/// Each command with two lines to start from.
const EXAMPLES: [(&str, [&str; 2]); 22] = [
    ("init", ["snap init /media/anna/USB/snapkeep", "snap init ~/archive"]),
    ("create", ["snap create ~/Pictures", "snap create ~/Pictures -e '*.tmp' --tag trip -n   # -n: only say what"]),
    ("list", ["snap list", "snap list --latest 1   # the newest of each source"]),
    ("ls", ["snap ls latest:Pictures", "snap ls -l --photos 2024-06:Pictures/2019   # as it was in June 2024"]),
    (
        "restore",
        ["snap restore latest:Pictures/2019 -t ~/found", "snap restore --deleted Pictures/2019/Ostsee --in-place"],
    ),
    ("cat", ["snap cat latest:Pictures/notes.txt", "snap cat \"3 days ago:Pictures/2019/a.jpg\" > a.jpg"]),
    ("dump", ["snap dump latest:Pictures/2019 -t 2019.zip", "snap dump latest:Pictures | ssh nas tar -x -C /srv"]),
    ("history", ["snap history Pictures/2019/a.jpg", "snap history ~/Pictures/2019"]),
    ("deleted", ["snap deleted", "snap deleted --under Pictures/2019"]),
    ("find", ["snap find --taken 2019-07 --camera canon", "snap find --deleted '*.mov'"]),
    ("has", ["snap has /media/anna/CARD", "snap has ~/Downloads/a.jpg ~/Downloads/b.jpg"]),
    ("diff", ["snap diff latest~1 latest", "snap diff 2024-06:Pictures latest:Pictures"]),
    ("duplicates", ["snap duplicates", "snap duplicates --json"]),
    (
        "verify",
        ["snap verify --read-data   # reads every byte", "snap verify --read-data-subset 10% --max-duration 2h"],
    ),
    ("repair", ["snap repair", "snap repair --from /media/anna/OTHER/snapkeep"]),
    ("squeeze", ["snap squeeze -n   # what there is to save, and how long it takes", "snap squeeze --for 2h"]),
    ("source", ["snap source list", "snap source rename ~/Pictures /mnt/photos/Pictures   # its past goes on there"]),
    ("status", ["snap status", "snap -a /media/anna/USB/snapkeep status"]),
    ("mount", ["snap mount ~/old", "snap mount ~/old --path ~/Pictures"]),
    ("browse", ["snap browse", "snap browse --path ~/Pictures"]),
    (
        "completions",
        [
            "snap completions bash > ~/.local/share/bash-completion/completions/snap",
            "snap completions fish > ~/.config/fish/completions/snap.fish",
        ],
    ),
    ("man", ["snap man", "snap man ~/.local/share/man/man1"]),
];

/// Two lines for somebody who has never used the program.
const FIRST: [&str; 2] = ["snap create ~/Pictures", "snap restore latest:Pictures/2019 -t ~/found"];

/// The commands by what they are for.
const GROUPS: [(&[&str], &str); 11] = [
    (&["create", "init"], "back up folders; make an archive where you want it"),
    (&["restore", "dump", "cat"], "write files into a folder; a tar or zip; print one"),
    (&["list", "ls", "diff"], "the snapshots, what is in one, what differs between two"),
    (&["mount", "browse"], "look around: with any program, on this terminal"),
    (&["find", "has"], "find photos; are these files in the archive?"),
    (&["history", "deleted"], "what happened to a photo; what the source has no longer"),
    (&["duplicates"], "what the source has more than once"),
    (&["source"], "the sources; one has moved or is backed up no more"),
    (&["verify", "repair"], "is every byte as it was? mend what is not"),
    (&["status", "squeeze"], "what is in the archive; store JPEGs in a fifth less"),
    (&["completions", "man"], "completion for your shell; the manual page"),
];

/// How wide the names of a group may be.
const NAMES: usize = 20;

/// Puts them into the help of a program with this name.
pub fn explain(grammar: Command, name: &str) -> Command {
    let configuration = configuration();
    let names: Vec<String> = grammar.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let first = examples(&FIRST, name);
    let commands = commands(&grammar);
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{first}\nCommands ({name} COMMAND --help says more):\n\
         {commands}\n{configuration}\n\nOptions:\n{{options}}{{after-help}}"
    );
    let grammar = grammar.help_template(template);
    names.into_iter().fold(grammar, |grammar, command| {
        let first = of(&command).map_or_else(String::new, |lines| examples(lines, name));
        let template = format!(
            "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{first}\n{configuration}\n\n{{all-args}}{{after-help}}"
        );
        grammar.mut_subcommand(command, |command| command.help_template(template))
    })
}

/// The same for manual pages, which have a place for it behind the options.
pub fn append(grammar: Command, name: &str) -> Command {
    let names: Vec<String> = grammar.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let add = |command: Command, lines: &[&str]| {
        let after = command.get_after_long_help().map(|after| format!("\n{after}")).unwrap_or_default();
        let configuration = configuration();
        command.after_long_help(format!("{}\n{configuration}\n{after}", examples(lines, name)))
    };
    names.into_iter().fold(add(grammar, &FIRST), |grammar, command| match of(&command) {
        Some(lines) => grammar.mut_subcommand(command, |command| add(command, lines)),
        None => grammar,
    })
}

fn of(command: &str) -> Option<&'static [&'static str]> {
    EXAMPLES.iter().find(|(known, _)| *known == command).map(|(_, lines)| lines.as_slice())
}

fn examples(lines: &[&str], name: &str) -> String {
    let mut out = "Examples:\n".to_owned();
    for line in lines {
        let line = line.strip_prefix("snap ").unwrap_or(line);
        let _ = writeln!(out, "  {name} {}", line.replace("completions/snap", &format!("completions/{name}")));
    }
    out
}

/// The commands by groups; one that is in no group has a line of its own.
fn commands(grammar: &Command) -> String {
    let mut out = String::new();
    for (names, what) in GROUPS {
        let _ = writeln!(out, "  {:NAMES$}{what}", names.join(", "));
    }
    let others = grammar.get_subcommands().filter(|command| {
        !command.is_hide_set() && !GROUPS.iter().any(|(names, _)| names.contains(&command.get_name()))
    });
    for command in others {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(out, "  {:NAMES$}{about}", command.get_name());
    }
    out
}

/// Where this user's configuration lies or would lie.
fn configuration() -> String {
    let path = places::variable("SNAPKEEP_CONFIG").map(Into::into).or_else(|| places::Places::of_user().config);
    match path {
        Some(path) => format!("Configuration: {}", names::path(&places::shortened(&path))),
        None => "Configuration: the file that SNAPKEEP_CONFIG names".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::{grammar, parse};
    use super::*;

    /// The words of a line as a shell hands them over.
    fn words(line: &str) -> Vec<std::ffi::OsString> {
        let line = line.split(" #").next().unwrap_or_default().split(" > ").next().unwrap_or_default();
        let line = line.split(" | ").next().unwrap_or_default();
        let (mut words, mut quote) = (vec![String::new()], None);
        for char in line.trim().chars() {
            let word = words.last_mut().expect("a word");
            match (char, quote) {
                ('"' | '\'', None) => quote = Some(char),
                (char, Some(open)) if char == open => quote = None,
                (' ', None) if !word.is_empty() => words.push(String::new()),
                (' ', None) => {}
                _ => word.push(char),
            }
        }
        words.into_iter().map(Into::into).collect()
    }

    /// The help of every command and of the program, in 80 columns: its name, short and long.
    fn all_help(name: &'static str) -> Vec<(String, String, String)> {
        let mut grammar = grammar(name).term_width(80);
        grammar.build();
        let mut all = vec![(String::new(), grammar.clone())];
        all.extend(grammar.get_subcommands().map(|command| (command.get_name().to_owned(), command.clone())));
        let text = |(which, mut command): (String, Command)| {
            let command = &mut command;
            (which, command.render_help().to_string(), command.render_long_help().to_string())
        };
        all.into_iter().map(text).collect()
    }

    #[test]
    fn every_help_has_two_examples_that_can_be_typed_so() {
        for name in ["snap", "snapkeep"] {
            for (command, short, long) in all_help(name) {
                for help in [short, long] {
                    let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("none of {command}"));
                    let lines: Vec<&str> = examples.lines().take_while(|line| !line.is_empty()).collect();
                    assert!(lines.len() >= 2, "{command}: {lines:?}");
                    for line in lines {
                        assert!(line.starts_with(&format!("  {name} ")) && line.len() <= 76 + name.len(), "{line}");
                        assert!(command.is_empty() || line.contains(&command), "{line}");
                        let parsed = parse("snap", &words(line));
                        assert!(
                            parsed.is_ok(),
                            "{line}: {}",
                            parsed.err().map_or(String::new(), |error| error.to_string())
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn one_screen_comes_before_the_options() {
        for (command, short, long) in all_help("snap") {
            for help in [short, long] {
                let before = |heads: &[&str]| help.lines().take_while(|line| !heads.contains(line)).count();
                let (arguments, options) = (before(&["Arguments:", "Options:"]), before(&["Options:"]));
                assert!(arguments <= 24 && options <= 30, "{arguments}, {options} lines of {command}:\n{help}");
                assert!(options < help.lines().count(), "there are options");
                assert!(help.contains("Configuration: "), "{help}");
                let wide = help.lines().find(|line| unicode_width::UnicodeWidthStr::width(*line) > 80);
                assert_eq!(wide, None, "{command}");
            }
        }
    }

    #[test]
    fn every_command_is_named_once() {
        let commands = commands(&grammar("snap"));
        let named: Vec<&str> = GROUPS.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        for command in grammar("snap").get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            let lines = commands.lines().filter(|line| {
                line.get(..NAMES + 2).is_some_and(|names| names.split([',', ' ']).any(|one| one == name))
            });
            assert_eq!(lines.count(), 1, "{name} in\n{commands}");
        }
        for name in named {
            assert!(grammar("snap").find_subcommand(name).is_some(), "{name} is a command");
        }
        for (name, _) in EXAMPLES {
            assert!(grammar("snap").find_subcommand(name).is_some(), "{name} is a command");
        }
    }
}
