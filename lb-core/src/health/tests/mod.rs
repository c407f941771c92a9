mod checker;
mod machine;
mod schedule;
