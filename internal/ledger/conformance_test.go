package ledger_test

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
)

// TestConformance holds the ledger to its word on a real bucket and on the one
// in memory alike.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, start := range buckettest.Both {
		for behaviour, test := range map[string]func(*testing.T, subject){
			"a new request is won":                     aNewRequestIsWon,
			"a redelivery resumes":                     aRedeliveryResumes,
			"another job is a duplicate":               anotherJobIsADuplicate,
			"a replay reopens what may be replayed":    aReplayReopens,
			"a replay carries a doubt over":            aReplayOpensADoubt,
			"a replay finds its request in progress":   aReplayFindsItInProgress,
			"a request that went away is new":          aRequestThatWentAwayIsNew,
			"an update needs the latest revision":      anUpdateNeedsTheLatestRevision,
			"records keep one form":                    recordsKeepOneForm,
			"unstorable records are refused":           unstorableRecordsAreRefused,
			"corrupt records are named":                corruptRecordsAreNamed,
			"there is nothing where nothing was":       nothingWhereNothingWas,
			"history is oldest first":                  historyIsOldestFirst,
			"one claim of many wins":                   oneClaimOfManyWins,
			"one update of many wins at each revision": oneUpdateWins,
		} {
			t.Run(name+"/"+behaviour, func(t *testing.T) {
				t.Parallel()
				door := start(t)
				test(t, subject{ledger.New(door.Bucket), door})
			})
		}
	}
}

func aNewRequestIsWon(t *testing.T, l subject) {
	claim := l.claims(t, record("r", 7, "w"))
	assert.Equal(t, domain.ClaimWon, claim.State)
	assert.Equal(t, record("r", 7, "w"), claim.Record)

	stored, revision := l.gets(t, "r")
	assert.Equal(t, claim.Record, stored)
	assert.Equal(t, claim.Revision, revision)
}

func aRedeliveryResumes(t *testing.T, l subject) {
	first := l.claims(t, record("r", 7, "w"))
	for status, want := range map[passcode.Status]bool{
		passcode.StatusSending: false, passcode.StatusRetrying: false, passcode.StatusInDoubt: false,
		passcode.StatusSent: true, passcode.StatusDeadLettered: true, passcode.StatusUnknown: true,
	} {
		first.Record.Final = !want // whatever the caller left there
		first.Record.Status = status
		first.Revision = l.updates(t, first.Record, first.Revision)
		// The same bytes again, too: the same worker with the same clock.
		for _, again := range []passcode.Result{record("r", 7, "w"), record("r", 7, "x")} {
			claim := l.claims(t, again)
			assert.Equal(t, domain.ClaimResumed, claim.State, status)
			assert.Equal(t, status, claim.Record.Status)
			assert.Equal(t, want, claim.Record.Final, status)
			assert.Equal(t, first.Revision, claim.Revision)
		}
	}
}

func anotherJobIsADuplicate(t *testing.T, l subject) {
	claim := l.claims(t, record("r", 7, "w"))
	revision := claim.Revision
	for _, status := range passcode.Statuses() {
		revision = l.updates(t, record("r", 7, "w").In(status), revision)
		claim := l.claims(t, record("r", 8, "w"))
		want := domain.ClaimInProgress
		if status.Final() {
			want = domain.ClaimDuplicate
		}
		assert.Equal(t, want, claim.State, status)
		assert.Equal(t, status, claim.Record.Status)
		assert.EqualValues(t, 7, claim.Record.StreamSeq)
		assert.Equal(t, revision, claim.Revision)
	}
}

func aReplayReopens(t *testing.T, l subject) {
	claim := l.claims(t, record("r", 7, "w"))
	seq, replays, revision := uint64(7), 0, claim.Revision
	for _, status := range passcode.Statuses() {
		if !status.Final() {
			continue
		}
		before := record("r", seq, "w").In(status)
		before.Replays, before.BizID = replays, "900619746936498440^0"
		revision = l.updates(t, before, revision)

		next := replay("r", seq+1, "x", replays+1)
		if replays > 0 {
			next.StreamSeq = seq // the stream was recreated, and counts from the start
		}
		claim := l.claims(t, next)
		if !status.Replayable() {
			assert.Equal(t, domain.ClaimDuplicate, claim.State, status)
			assert.Equal(t, before, claim.Record)
			continue
		}
		assert.Equal(t, domain.ClaimReopened, claim.State, status)
		assert.Equal(t, next, claim.Record, "of what was never attempted, nothing is carried over")
		assert.Greater(t, claim.Revision, revision)
		seq, replays, revision = next.StreamSeq, replays+1, claim.Revision

		again := l.claims(t, next)
		assert.Equal(t, domain.ClaimResumed, again.State, "the replay's own redelivery")
		revision = l.updates(t, next.In(status), revision)
		again = l.claims(t, replay("r", seq, "x", replays-1))
		assert.Equal(t, domain.ClaimDuplicate, again.State, "an earlier job in the same place of a recreated stream")
		again = l.claims(t, replay("r", seq+7, "x", replays))
		assert.Equal(t, domain.ClaimDuplicate, again.State, "the same replay published twice")
	}
	assert.Equal(t, 2, replays)
}

func aReplayOpensADoubt(t *testing.T, l subject) {
	attempted := time.Date(2026, 1, 1, 15, 59, 59, 0, time.UTC)
	poison := &passcode.Error{Code: "worker_interrupted", Class: passcode.ClassPoison, Message: "it went away"}
	refused := &passcode.Error{Code: "isv.SMS_TEMPLATE_ILLEGAL", Class: passcode.ClassConfig, Message: "no such template"}
	for id, row := range map[string]struct {
		status passcode.Status
		err    *passcode.Error
		doubt  bool
	}{
		"unknown": {passcode.StatusUnknown, nil, true},
		"poison":  {passcode.StatusDeadLettered, poison, true},
		"refused": {passcode.StatusDeadLettered, refused, false},
	} {
		claim := l.claims(t, record(id, 7, "w"))
		before := record(id, 7, "w").In(row.status)
		before.AttemptedAt, before.Error = attempted, row.err
		l.updates(t, before, claim.Revision)

		next := replay(id, 8, "x", 1)
		next.AttemptedAt = next.UpdatedAt
		if id == "refused" { // as if its record had been thought to be gone
			next = next.In(passcode.StatusInDoubt)
			next.Attempts, next.AttemptedAt, next.Error = 0, attempted.Add(-time.Hour), poison
		}
		claim = l.claims(t, next)
		require.Equal(t, domain.ClaimReopened, claim.State, id)
		want := next.In(passcode.StatusSending)
		want.Attempts, want.AttemptedAt, want.Error = 1, next.UpdatedAt, nil
		if row.doubt {
			want = next.In(passcode.StatusInDoubt)
			want.Attempts, want.AttemptedAt, want.Error = 0, attempted, row.err
		}
		assert.Equal(t, want, claim.Record, id)
		stored, revision := l.gets(t, id)
		assert.Equal(t, want, stored, id)
		assert.Equal(t, claim.Revision, revision, id)
	}
}

func aReplayFindsItInProgress(t *testing.T, l subject) {
	l.claims(t, record("r", 7, "w"))
	began := time.Now()
	claim := l.claims(t, replay("r", 8, "w", 1))
	assert.Equal(t, domain.ClaimInProgress, claim.State)
	assert.GreaterOrEqual(t, time.Since(began), time.Second, "it was read again before it was believed")
}

func aRequestThatWentAwayIsNew(t *testing.T, l subject) {
	for how, drop := range l.door.Drop {
		id := "r-" + how
		first := l.claims(t, record(id, 7, "w"))
		drop(t, id)
		_, _, err := l.Get(t.Context(), id)
		require.ErrorIs(t, err, domain.ErrNotFound, how)
		_, err = l.Update(t.Context(), first.Record, first.Revision)
		require.ErrorIs(t, err, domain.ErrConflict, how)
		claim := l.claims(t, record(id, 8, "w"))
		assert.Equal(t, domain.ClaimWon, claim.State, how)
		assert.Greater(t, claim.Revision, first.Revision)
	}
}

func anUpdateNeedsTheLatestRevision(t *testing.T, l subject) {
	claim := l.claims(t, record("r", 7, "w"))
	sent := claim.Record.In(passcode.StatusSent)
	next := l.updates(t, sent, claim.Revision)
	assert.Greater(t, next, claim.Revision)

	// Equal bytes are no excuse: nothing says that they are this caller's.
	for _, rec := range []passcode.Result{sent, sent.In(passcode.StatusExpired)} {
		_, err := l.Update(t.Context(), rec, claim.Revision)
		require.ErrorIs(t, err, domain.ErrConflict)
	}
	_, err := l.Update(t.Context(), sent, next+100)
	require.ErrorIs(t, err, domain.ErrConflict)
	stored, revision := l.gets(t, "r")
	assert.Equal(t, sent, stored)
	assert.Equal(t, next, revision)
}

func recordsKeepOneForm(t *testing.T, l subject) {
	shanghai := time.FixedZone("CST", 8*60*60)
	rec := record("r", 7, "w")
	rec.Metadata = nil
	rec.Duplicate, rec.Final = true, true
	rec.UpdatedAt = time.Now().In(shanghai) // with a monotonic reading
	long := make([]byte, 3*ledger.MaxMessageBytes)
	for i := range long {
		long[i] = "短信\xff"[i%7]
	}
	message := string(long)
	rec.Error = &passcode.Error{Code: "c", Class: passcode.ClassConfig, Message: message}

	claim := l.claims(t, rec)
	stored, revision := l.gets(t, "r")
	assert.Equal(t, stored, claim.Record, "what a claim returns is what is stored")
	assert.False(t, stored.Final)
	assert.False(t, stored.Duplicate)
	assert.NotNil(t, stored.Metadata)
	assert.True(t, rec.UpdatedAt.Equal(stored.UpdatedAt))
	assert.LessOrEqual(t, len(stored.Error.Message), ledger.MaxMessageBytes)
	assert.Equal(t, message, rec.Error.Message, "the caller's record is left alone")

	l.updates(t, stored, revision)
	again, _ := l.gets(t, "r")
	assert.Equal(t, stored, again)
}

func unstorableRecordsAreRefused(t *testing.T, l subject) {
	for name, change := range map[string]func(*passcode.Result){
		"no id":         func(r *passcode.Result) { r.RequestID = "" },
		"wildcard id":   func(r *passcode.Result) { r.RequestID = "*" },
		"id with a dot": func(r *passcode.Result) { r.RequestID = "a.b" },
		"no status":     func(r *passcode.Result) { r.Status = "" },
		"odd status":    func(r *passcode.Result) { r.Status = "done" },
		"attempts":      func(r *passcode.Result) { r.Attempts = -1 },
		"replays":       func(r *passcode.Result) { r.Replays = -1 },
		"far future":    func(r *passcode.Result) { r.ExpiresAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"too large":     func(r *passcode.Result) { r.BizID = string(make([]byte, ledger.MaxRecordBytes)) },
	} {
		rec := record("r", 7, "w")
		change(&rec)
		_, err := l.Claim(t.Context(), rec)
		require.ErrorIs(t, err, domain.ErrUnstorable, name)
		_, err = l.Update(t.Context(), rec, 1)
		require.ErrorIs(t, err, domain.ErrUnstorable, name)
	}
	_, err := l.Update(t.Context(), record("r", 7, "w"), 0)
	require.ErrorIs(t, err, domain.ErrUnstorable, "revision 0 would create")
	_, _, err = l.Get(t.Context(), "r")
	require.ErrorIs(t, err, domain.ErrNotFound)
}

func corruptRecordsAreNamed(t *testing.T, l subject) {
	good, err := json.Marshal(record("r", 7, "w"))
	require.NoError(t, err)
	for i, value := range []string{
		"", "null", "[]", "{}", "+8613812345678", `"+8613812345678"`, string(good[:len(good)-1]), string(good) + "x",
		`{"request_id":"r","status":"sent","updated_at":"+8613812345678"}`,
		`{"request_id":"r","status":"sent","attempts":"+8613812345678"}`,
		`{"request_id":"r","status":"sent","attempts":-1}`,
		`{"request_id":"r","status":"+8613812345678"}`,
		`{"request_id":"+8613812345678","status":"sent"}`,
		string(make([]byte, ledger.MaxRecordBytes+1)),
	} {
		l.door.Store(t, "r", []byte(value))
		_, _, getErr := l.Get(t.Context(), "r")
		_, claimErr := l.Claim(t.Context(), record("r", 7, "w"))
		_, historyErr := l.History(t.Context(), "r")
		for _, err := range []error{getErr, claimErr, historyErr} {
			require.ErrorIs(t, err, domain.ErrCorrupt, "%d", i)
			assert.Contains(t, err.Error(), "request r")
			assert.NotContains(t, err.Error(), "138", "nothing of the bytes is shown")
		}
	}
	l.door.Store(t, "r", good)
	claim := l.claims(t, record("r", 7, "w"))
	assert.Equal(t, domain.ClaimResumed, claim.State)
}

func nothingWhereNothingWas(t *testing.T, l subject) {
	for _, id := range []string{"r", "", "*", ">", "a.b", "a b", "13812345678 "} {
		_, _, err := l.Get(t.Context(), id)
		require.ErrorIs(t, err, domain.ErrNotFound, id)
		_, err = l.History(t.Context(), id)
		require.ErrorIs(t, err, domain.ErrNotFound, id)
	}
	_, err := l.Update(t.Context(), record("r", 7, "w"), 1)
	require.ErrorIs(t, err, domain.ErrConflict)
}

func historyIsOldestFirst(t *testing.T, l subject) {
	claim := l.claims(t, record("r", 7, "w"))
	l.claims(t, record("other", 8, "w"))
	revision := claim.Revision
	for _, status := range []passcode.Status{passcode.StatusRetrying, passcode.StatusSending, passcode.StatusSent} {
		revision = l.updates(t, claim.Record.In(status), revision)
	}
	history, err := l.History(t.Context(), "r")
	require.NoError(t, err)
	var statuses []passcode.Status
	for _, rec := range history {
		statuses = append(statuses, rec.Status)
		assert.Equal(t, rec.Status.Final(), rec.Final)
	}
	assert.Equal(t, []passcode.Status{"sending", "retrying", "sending", "sent"}, statuses)
}

func oneClaimOfManyWins(t *testing.T, l subject) {
	const workers = 16
	claims := make([]domain.Claim, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			// Half are redeliveries of one job, byte for byte the same; half are duplicates.
			var err error
			claims[i], err = l.Claim(t.Context(), record("r", uint64(1+i%2), "w"))
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	won := 0
	owner, _ := l.gets(t, "r")
	for i, claim := range claims {
		switch {
		case claim.State == domain.ClaimWon:
			won++
		case owner.StreamSeq == uint64(1+i%2):
			assert.Equal(t, domain.ClaimResumed, claim.State)
		default:
			assert.Equal(t, domain.ClaimInProgress, claim.State)
		}
	}
	assert.Equal(t, 1, won)
}

func oneUpdateWins(t *testing.T, l subject) {
	revision := l.claims(t, record("r", 7, "w")).Revision
	const workers, rounds = 8, 5
	for round := range rounds {
		won := make(chan uint64, workers)
		var wg sync.WaitGroup
		for i := range workers {
			wg.Go(func() {
				rec := record("r", 7, fmt.Sprintf("w%d", i))
				rec.Attempts = round
				next, err := l.Update(t.Context(), rec, revision)
				if err == nil {
					won <- next
				} else {
					assert.ErrorIs(t, err, domain.ErrConflict)
				}
			})
		}
		wg.Wait()
		require.Len(t, won, 1)
		revision = <-won
	}
}
