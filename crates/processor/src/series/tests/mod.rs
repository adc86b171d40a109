//! What the data model promises: each case of a series' life by example (`timelines`), what holds in every history (`histories`), what a backend
//! adds up (`sums`), and what a reload, several
//! receivers and the bounds do. Does not prove that the rules make the right samples.

mod backend;
mod bounds;
mod histories;
mod receivers;
mod reload;
mod sums;
mod timelines;
mod world;
