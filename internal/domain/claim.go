package domain

import "github.com/passcode-worker/passcode-worker/passcode"

// ClaimState is what a claim found.
type ClaimState int

// What a claim may find.
const (
	ClaimWon        ClaimState = iota // the request was new: our first record is stored
	ClaimReopened                     // a replay opened a dead-lettered or unknown request: our record is stored
	ClaimResumed                      // a redelivery of the job that owns the request; nothing was written
	ClaimDuplicate                    // another job, and the request is final; nothing was written
	ClaimInProgress                   // another job, and the request is not final; nothing was written
)

// Own reports whether the request is the job's own now, and its record just stored.
func (s ClaimState) Own() bool { return s == ClaimWon || s == ClaimReopened }

// Claim is the outcome of claiming a request.
type Claim struct {
	State ClaimState
	// Record is the stored record: our own after ClaimWon, one made of our own and the one found after ClaimReopened,
	// otherwise the one found.
	Record   passcode.Result
	Revision uint64 // guards the record's next update
}

// Judge says who owns a request: what its stored record means to one of its jobs, by that job's first record. After
// ClaimReopened the job's record may replace the stored one.
func Judge(first, stored passcode.Result) ClaimState {
	switch {
	case Owns(stored, first.StreamSeq, first.Replays):
		return ClaimResumed
	case first.Replays > stored.Replays && stored.Status.Replayable():
		return ClaimReopened
	case stored.Status.Final():
		return ClaimDuplicate
	default:
		return ClaimInProgress
	}
}

// Owns reports whether the record belongs to the job of that sequence and replay (0: it is none). The sequence alone
// doesn't tell: in a recreated stream a replay may have the sequence that its request's first job had.
func Owns(rec passcode.Result, seq uint64, replays int) bool {
	return rec.StreamSeq == seq && rec.Replays == replays
}
