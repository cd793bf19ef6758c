//! What is added to the scripts that clap makes: first the program is asked for words, and where it knows none, the
//! script does what it did.

use clap_complete::Shell;

const BASH: &str = r#"
_NAME_or_word() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <(NAME complete-word bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" 2>/dev/null)
    if [[ ${#COMPREPLY[@]} -eq 0 ]]; then
        _NAME "$@"
    elif [[ ${COMPREPLY[0]} == *[/:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
    return 0
}
"#;

const ZSH: &str = r#"
_NAME_or_word() {
    local -a found open shut
    found=("${(@f)$(NAME complete-word zsh "${(j: :)words[1,CURRENT-1]} ${QIPREFIX}${PREFIX}" 2>/dev/null)}")
    open=(${(M)found:#*[/:]})
    shut=(${found:#(|*[/:])})
    if (( ! $#open && ! $#shut )); then
        _NAME "$@"
        return
    fi
    (( $#open )) && compadd -Q -U -V open -S '' -- "${open[@]}"
    (( $#shut )) && compadd -Q -U -V shut -- "${shut[@]}"
    return 0
}
"#;

const FISH: &str = r#"
complete -c NAME -n "__fish_NAME_using_subcommand ls restore cat dump diff" -k -f -a "(NAME complete-word fish (commandline -cp | string collect) 2>/dev/null)"
"#;

/// The script of a shell with what is added to it, for a program with this name.
pub fn script(shell: Shell, script: &str, name: &str) -> String {
    let named = |text: &str| text.replace("NAME", name);
    match shell {
        Shell::Bash => {
            let registers = format!("complete -F _{name} ");
            let at = script.rfind("\nif [[").unwrap_or(script.len());
            let (functions, end) = script.split_at(at);
            format!("{functions}{}{}", named(BASH), end.replace(&registers, &format!("complete -F _{name}_or_word ")))
        }
        Shell::Zsh => {
            let at = script.rfind("\nif [").unwrap_or(script.len());
            let (functions, end) = script.split_at(at);
            let first = format!("    _{name} \"$@\"");
            let calls = format!("    compdef _{name}_or_word {name}\n    _{name}_or_word \"$@\"");
            let end = end.replace(&first, &calls);
            let end = end.replace(&format!("compdef _{name} {name}"), &format!("compdef _{name}_or_word {name}"));
            format!("{functions}{}{end}", named(ZSH))
        }
        Shell::Fish => format!("{script}{}", named(FISH)),
        _ => script.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::grammar;

    #[test]
    fn both_names_of_the_program_complete_themselves() {
        for name in ["snap", "snapkeep"] {
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                let mut plain = Vec::new();
                clap_complete::generate(shell, &mut grammar(name), name, &mut plain);
                let text = script(shell, &String::from_utf8_lossy(&plain), name);
                assert!(text.contains(&format!("{name} complete-word ")), "{shell} {name}");
                let (ours, theirs) = match shell {
                    Shell::Bash => (format!("complete -F _{name}_or_word -o"), format!("complete -F _{name} -o")),
                    Shell::Zsh => (format!("compdef _{name}_or_word {name}\n"), format!("compdef _{name} {name}\n")),
                    _ => (format!("__fish_{name}_using_subcommand ls restore"), "NAME".to_owned()),
                };
                assert!(text.contains(&ours) && !text.contains(&theirs), "{shell} {name}");
                assert!(shell == Shell::Fish || text.contains(&format!("_{name} \"$@\"")), "the old one is asked next");
                if shell == Shell::Fish {
                    assert!(text.contains(&format!("function __fish_{name}_using_subcommand")), "it is there");
                }
            }
        }
    }
}
