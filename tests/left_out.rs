//! Says, behind the other tests, which of them did nothing here, and what would make them run.

#[path = "greet/needs.rs"]
#[allow(dead_code, reason = "the tests ask for one need at a time")]
mod needs;

fn main() {
    let missing = needs::MISSING.iter();
    let missing: Vec<String> = missing
        .map(|need| format!("{} (package: {})", need.name, need.package))
        .collect();
    if !missing.is_empty() {
        println!("Tests were left out that need {}", missing.join(", "));
    }
}
