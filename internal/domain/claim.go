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
	// Record is the stored record: our own after ClaimWon, one made of our own and
	// the one found after ClaimReopened, otherwise the one found.
	Record passcode.Result
	// Revision guards the next update of the record.
	Revision uint64
}

// Judge says who owns a request: what its stored record means to one of its jobs, whose
// first record this is. After ClaimReopened the job's record may replace the stored one.
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

// Owns reports whether a job, known by its sequence in the stream and its replay
// (0 where it is none), is the one that its request's record belongs to. The
// sequence alone doesn't tell: a stream that was deleted and made again counts from
// 1 once more, and a replay may come to the place that its request's first job had.
func Owns(rec passcode.Result, seq uint64, replays int) bool {
	return rec.StreamSeq == seq && rec.Replays == replays
}
