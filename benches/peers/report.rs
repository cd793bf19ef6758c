//! Results as Markdown, which is also what the terminal shows, and as JSON.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::contest::Outcome;
use crate::measure::{Cost, Step};
use crate::programs::{Kind, Program};

type Facts = [(&'static str, String)];

/// A column: its head, and what it shows.
type Column = (&'static str, Step, fn(&Cost) -> f64);

const COLUMNS: [Column; 14] = [
    ("first backup s", Step::First, |cost| cost.wall),
    ("CPU s", Step::First, |cost| cost.cpu),
    ("mem MB", Step::First, |cost| cost.memory),
    ("stored MB", Step::First, |cost| cost.grown),
    ("nothing changed s", Step::Unchanged, |cost| cost.wall),
    ("CPU s", Step::Unchanged, |cost| cost.cpu),
    ("mem MB", Step::Unchanged, |cost| cost.memory),
    ("+MB", Step::Unchanged, |cost| cost.grown),
    ("restore s", Step::Restore, |cost| cost.wall),
    ("CPU s", Step::Restore, |cost| cost.cpu),
    ("mem MB", Step::Restore, |cost| cost.memory),
    ("albums renamed s", Step::Renamed, |cost| cost.wall),
    ("+MB", Step::Renamed, |cost| cost.grown),
    ("JPEGs tagged +MB", Step::Tagged, |cost| cost.grown),
];

/// The columns of [`COLUMNS`] by which programs are compared, and what each is called there.
const COMPARED: [(usize, &str); 11] = [
    (0, "first backup, s"),
    (1, "first backup, CPU s"),
    (2, "first backup, memory MB"),
    (3, "stored, MB"),
    (4, "nothing changed, s"),
    (8, "restore, s"),
    (9, "restore, CPU s"),
    (10, "restore, memory MB"),
    (11, "albums renamed, s"),
    (12, "albums renamed, +MB"),
    (13, "JPEGs tagged, +MB"),
];

/// Everything for people.
pub fn markdown(facts: &Facts, programs: &[Program], runs: u32, outcomes: &[Outcome]) -> String {
    let mut text = String::from("# snap and its peers\n\n");
    for (name, value) in facts {
        let _ = writeln!(text, "- {name}: {value}");
    }
    for program in programs {
        let _ = writeln!(text, "- {}: {}", program.name, program.version);
    }
    let _ = writeln!(
        text,
        "- each figure: the median of {runs} run(s), page cache warm; benches/README.md says what is measured"
    );
    for outcome in outcomes {
        let _ = writeln!(text, "\n## {}: {} files, {:.1} MB\n", outcome.name, outcome.files, outcome.megabytes);
        text += &table(&figures(programs, outcome));
        let compared = comparison(programs, outcome);
        if compared.len() > 1 {
            text.push('\n');
            text += &table(&compared);
        }
        for (program, step, why) in &outcome.failures {
            let _ = writeln!(text, "\n{} failed ({}): {why}", programs[*program].name, step.name());
        }
    }
    text
}

fn figures(programs: &[Program], outcome: &Outcome) -> Vec<Vec<String>> {
    let head = std::iter::once("program").chain(COLUMNS.iter().map(|(head, ..)| *head));
    let row = |(number, program): (usize, &Program)| {
        let cells = COLUMNS.iter().map(move |(_, step, value)| outcome.cost(number, *step).map(|cost| value(&cost)));
        std::iter::once(program.name.to_owned()).chain(cells.map(|cell| cell.map_or_else(|| "–".to_owned(), number_of)))
    };
    let rows = programs.iter().enumerate().map(|program| row(program).collect());
    std::iter::once(head.map(str::to_owned).collect()).chain(rows).collect()
}

/// snap beside the best of its peers, whichever that is for each figure, and beside a plain copy.
fn comparison(programs: &[Program], outcome: &Outcome) -> Vec<Vec<String>> {
    let head = ["snap compared", "snap", "best peer", "ratio", "cp", "ratio"].map(str::to_owned).to_vec();
    let mut rows = vec![head];
    for (column, name) in COMPARED {
        let (_, step, value) = COLUMNS[column];
        let all = || {
            let of = |(number, program)| Some((program, value(&outcome.cost(number, step)?)));
            programs.iter().enumerate().filter_map(of)
        };
        let the = |kind: Kind| all().find(|(program, _)| program.kind == kind).map(|(_, value)| value);
        let Some(snap) = the(Kind::Snap) else { continue };
        let peers = all().filter(|(program, _)| !matches!(program.kind, Kind::Snap | Kind::Cp));
        let best = peers.min_by(|one, other| one.1.total_cmp(&other.1));
        let ratio = |other: Option<f64>| match other {
            Some(other) if snap < other / 10.0 => format!("{:.3}", snap / other),
            Some(other) if other > 0.0 => format!("{:.2}", snap / other),
            _ => "–".to_owned(),
        };
        let copy = the(Kind::Cp);
        rows.push(vec![
            name.to_owned(),
            number_of(snap),
            best.map_or_else(|| "–".to_owned(), |(program, value)| format!("{} ({})", number_of(value), program.name)),
            ratio(best.map(|(_, value)| value)),
            copy.map_or_else(|| "–".to_owned(), number_of),
            ratio(copy),
        ]);
    }
    rows
}

/// Three digits that count, and no more.
fn number_of(value: f64) -> String {
    let decimals = match value.abs() {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// A Markdown table whose columns are also aligned for the eye; the first row is its head.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = if column == 0 { write!(text, "| {cell:<width$} ") } else { write!(text, "| {cell:>width$} ") };
        }
        text += "|\n";
        if number == 0 {
            for (column, width) in widths.iter().enumerate() {
                let _ = write!(text, "|{}{}", "-".repeat(width + 1), if column == 0 { "-" } else { ":" });
            }
            text += "|\n";
        }
    }
    text
}

/// Everything for programs, every run's figures included.
pub fn json(facts: &Facts, programs: &[Program], runs: u32, outcomes: &[Outcome]) -> Value {
    let facts: Map<String, Value> = facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let cost =
        |cost: &Cost| json!({"wall_s": cost.wall, "cpu_s": cost.cpu, "memory_mb": cost.memory, "grown_mb": cost.grown});
    let contest = |outcome: &Outcome| {
        let of = |(number, program): (usize, &Program)| {
            let steps: Map<String, Value> = Step::ALL
                .iter()
                .filter_map(|step| {
                    let runs = outcome.costs.get(&(number, *step))?;
                    let runs: Vec<Value> = runs.iter().map(cost).collect();
                    Some((
                        step.name().to_owned(),
                        json!({"median": outcome.cost(number, *step).as_ref().map(cost), "runs": runs}),
                    ))
                })
                .collect();
            json!({"name": program.name, "version": program.version, "steps": steps})
        };
        let failures: Vec<Value> = outcome
            .failures
            .iter()
            .map(|(program, step, why)| json!({"program": programs[*program].name, "step": step.name(), "why": why}))
            .collect();
        json!({
            "name": outcome.name,
            "files": outcome.files,
            "megabytes": outcome.megabytes,
            "programs": programs.iter().enumerate().map(of).collect::<Vec<_>>(),
            "failures": failures,
        })
    };
    json!({"facts": facts, "runs": runs, "contests": outcomes.iter().map(contest).collect::<Vec<_>>()})
}
