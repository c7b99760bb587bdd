package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
)

type faults = map[buckettest.Op][]buckettest.Fault

func TestFaults(t *testing.T) {
	t.Parallel()
	const none, refuse, lose, stale = buckettest.None, buckettest.Refuse, buckettest.LoseAnswer, buckettest.Stale
	old := func(status passcode.Status) *passcode.Result { r := record("r", 7, "w").In(status); return &r }
	tried := func(status passcode.Status) *passcode.Result {
		r := old(status)
		r.AttemptedAt = r.QueuedAt
		return r
	}
	again := replay("r", 8, "x", 1)
	for name, test := range map[string]struct {
		before *passcode.Result // what the bucket holds
		first  passcode.Result
		faults faults
		want   domain.ClaimState
	}{
		"the create is refused twice":        {nil, record("r", 7, "w"), faults{"write": {refuse, refuse}}, domain.ClaimWon},
		"the create's answer is lost":        {nil, record("r", 7, "w"), faults{"write": {lose}}, domain.ClaimWon},
		"it is lost, then a stale get":       {nil, record("r", 7, "w"), faults{"write": {lose}, "get": {stale, stale}}, domain.ClaimWon},
		"it is lost, then a failed get":      {nil, record("r", 7, "w"), faults{"write": {lose, refuse}, "get": {refuse}}, domain.ClaimWon},
		"lost over another's record":         {old("sending"), record("r", 8, "w"), faults{"write": {lose}}, domain.ClaimInProgress},
		"refused over our own redelivery":    {old("sending"), record("r", 7, "x"), faults{"write": {refuse}}, domain.ClaimResumed},
		"the same bytes, no answer lost":     {old("sending"), record("r", 7, "w"), faults{"get": {stale}}, domain.ClaimResumed},
		"a stale get hides the record":       {old("sent"), record("r", 8, "w"), faults{"get": {stale, stale, stale}}, domain.ClaimDuplicate},
		"the reopening's answer is lost":     {old("dead_lettered"), again, faults{"write": {none, lose}}, domain.ClaimReopened},
		"the reopening is refused":           {old("unknown"), again, faults{"write": {none, refuse, refuse}}, domain.ClaimReopened},
		"reopened, its answer lost twice":    {old("unknown"), again, faults{"write": {none, lose, lose}}, domain.ClaimReopened},
		"reopened in doubt, its answer lost": {tried("unknown"), again, faults{"write": {none, lose}}, domain.ClaimReopened},
		"reopened, lost, then a stale get":   {old("unknown"), again, faults{"write": {none, lose}, "get": {none, stale}}, domain.ClaimReopened},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, f := fake()
				if test.before != nil {
					_, err := l.Claim(t.Context(), *test.before)
					require.NoError(t, err)
				}
				f.Script(test.faults)
				claim, err := l.Claim(t.Context(), test.first)
				require.NoError(t, err)
				assert.Equal(t, test.want, claim.State)
				if test.want == domain.ClaimReopened {
					assert.Equal(t, ledger.Reopen(test.first, *test.before), claim.Record)
				}
				f.Inject(nil)
				stored, revision, err := l.Get(t.Context(), "r")
				require.NoError(t, err)
				assert.Equal(t, stored, claim.Record)
				assert.Equal(t, revision, claim.Revision)
			})
		})
	}
}

// A replay that reads an old state from a lagging follower must not be dropped
// as if its request were in progress: nobody would send it.
func TestAReplayOutlastsAStaleReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, f := fake()
		claim, err := l.Claim(t.Context(), record("r", 7, "w"))
		require.NoError(t, err)
		_, err = l.Update(t.Context(), claim.Record.In(passcode.StatusDeadLettered), claim.Revision)
		require.NoError(t, err)
		f.Script(faults{"get": {buckettest.Stale, buckettest.Stale, buckettest.Stale}})
		reopened, err := l.Claim(t.Context(), replay("r", 8, "w", 1))
		require.NoError(t, err)
		assert.Equal(t, domain.ClaimReopened, reopened.State)
		assert.Equal(t, replay("r", 8, "w", 1), reopened.Record)
	})
}

// A record whose answer was lost may have lost its announcement as well: the
// leader that had stored it died. Announced from here, it may come twice.
func TestARecordWhoseAnswerIsLostIsAnnounced(t *testing.T) {
	t.Parallel()
	const none, refuse, lose = buckettest.None, buckettest.Refuse, buckettest.LoseAnswer
	for name, test := range map[string]struct {
		faults faults
		want   []passcode.Status // of those announced, in order
	}{
		"no answer is lost":            {nil, nil},
		"nothing was stored":           {faults{"write": {refuse, none, refuse, none, refuse}}, nil},
		"the claim's is":               {faults{"write": {lose}}, []passcode.Status{"sending"}},
		"the update's is":              {faults{"write": {none, lose}}, []passcode.Status{"dead_lettered"}},
		"the reopening's is":           {faults{"write": {none, none, none, lose}}, []passcode.Status{"sending"}},
		"the announcement fails twice": {faults{"write": {none, lose}, "announce": {refuse, refuse}}, []passcode.Status{"dead_lettered"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l, f := fake()
				f.Script(test.faults)
				claim, err := l.Claim(t.Context(), record("r", 7, "w"))
				require.NoError(t, err)
				_, err = l.Update(t.Context(), claim.Record.In(passcode.StatusDeadLettered), claim.Revision)
				require.NoError(t, err)
				_, err = l.Claim(t.Context(), replay("r", 8, "x", 1))
				require.NoError(t, err)
				var announced []passcode.Status
				for _, value := range f.Announced() {
					var rec passcode.Result
					require.NoError(t, json.Unmarshal(value, &rec))
					announced = append(announced, rec.Status)
				}
				assert.Equal(t, test.want, announced)
			})
		})
	}
}

func TestCallsAreBoundedAndSayByWhat(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, f := fake()
		f.Always(buckettest.Refuse, buckettest.Write, buckettest.Get, buckettest.History)
		cause := errors.New("the worker shuts down")
		for name, call := range map[string]func(context.Context) error{
			"claim":   func(ctx context.Context) error { _, err := l.Claim(ctx, record("r", 7, "w")); return err },
			"update":  func(ctx context.Context) error { _, err := l.Update(ctx, record("r", 7, "w"), 1); return err },
			"get":     func(ctx context.Context) error { _, _, err := l.Get(ctx, "r"); return err },
			"history": func(ctx context.Context) error { _, err := l.History(ctx, "r"); return err },
		} {
			began := time.Now()
			err := call(t.Context())
			require.ErrorIs(t, err, retry.ErrGaveUp, name)
			require.ErrorContains(t, err, name+" r: ")
			assert.Equal(t, retry.Request.Total, time.Since(began), name)

			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
			began = time.Now()
			err = call(ctx)
			cancel()
			require.ErrorIs(t, err, cause, name)
			assert.Equal(t, time.Second, time.Since(began), name)
		}
	})
}
