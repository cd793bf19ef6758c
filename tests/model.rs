//! Random sequences of everything that people do, against plain copies of every snapshot. For longer: `SNAPKEEP_MODEL_SECONDS=600
//! cargo test --test suite model:: -- --nocapture`; a seed that failed is run again with `SNAPKEEP_MODEL_SEED=…`.

use crate::common;
use crate::common::model;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use common::Random;
use model::Model;

/// Steps of one archive's life.
const STEPS: usize = 60;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn whatever_is_done_in_whatever_order_every_snapshot_comes_back() {
    let time = Duration::from_secs(number("SNAPKEEP_MODEL_SECONDS").unwrap_or(15));
    let began = Instant::now();
    let first = number("SNAPKEEP_MODEL_SEED").unwrap_or(1);
    let mut lives = 0;
    while lives == 0 || began.elapsed() < time {
        let seed = first + lives;
        let folder = common::quick();
        let mut model = Model::new(folder.path());
        let mut random = Random(seed);
        let lived = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..STEPS {
                model.step(&mut |end| random.below(end));
            }
            model.end();
        }));
        if let Err(panic) = lived {
            eprintln!("SNAPKEEP_MODEL_SEED={seed}:\n{}", model.log.join("\n"));
            resume_unwind(panic);
        }
        lives += 1;
    }
    println!("{lives} archives of {STEPS} steps");
}
