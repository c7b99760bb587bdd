// Package account stops every replica while Aliyun answers for the whole account:
// no balance, arrears, a wrong key, a cap on the account. Each further call would
// only fail too, and some failures count against the account.
//
// # What happens
//
// The replica that sees such an answer trips the gate. The consumer is paused on
// the server, so no replica is given a job. When the pause has run out the next
// job is sent as the probe, one over all replicas. If it gets through, everything
// flows again; if not, the next pause begins, twice as long.
//
//	         Trip                     pause over, Admit
//	open ───────────▶ paused(level 1) ────────────────▶ probing ── Passed ──▶ open
//	                     ▲    ▲                         │  │ │
//	                     │    └──────── GiveBack ───────┘  │ └─ probe lost: Admit, after a time-out
//	                     └───────── Trip, level + 1 ───────┘
//
// # Where the state is
//
// In the broker, not in a worker: one JSON document under the key "account" of a
// key-value bucket, changed by compare-and-swap alone. Each gate follows it with a
// watch and reads it again every ten seconds, so a gate closes within
// milliseconds of another's discovery, and [Breaker.Admit] costs one atomic load
// while the gate is open. Without the broker the last known state counts.
//
// # An operator's pause
//
// Operators pause the same consumer, with [Breaker.Hold]. A note under the key
// "pause" says why, until when and who; it explains the pause and decides nothing,
// so that one that outlived its pause does no harm. The gate neither shortens nor
// ends a pause that lasts longer than its own.
//
// # Crashes
//
// The document is written first, the consumer paused second. A worker that dies
// between the two leaves a gate that is closed for every replica, while the server
// still hands out jobs, which are all handed back. Every gate that sees a pause
// therefore checks a moment later that the consumer is paused, and mends it. A
// worker that dies with the probe leaves it to the next one once
// [Options].ProbeTimeout is over. A worker that dies between opening the gate and
// resuming the consumer leaves a pause that ends by itself.
//
// # Old news
//
// A call that began before the gate was tripped may end after. Its success opens
// nothing, because only the probe's does; its failure neither lengthens a pause
// under way nor disturbs another replica's probe. [Options].Initial must be longer
// than a call may last, so that no such call is left when the gate opens again.
//
// # Clocks
//
// A pause is kept by each replica's own clock, on the server by the server's. A
// difference between clocks makes a probe that much earlier or later. No replica
// waits longer than [Options].Max after it learned of a pause, whatever time the
// document names.
package account
