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
)

// script gives the requests of each kind the faults listed, one each, and none
// after them.
func script(m *ledger.Memory, faults map[ledger.Op][]ledger.Fault) {
	m.Inject(func(op ledger.Op, _ string) ledger.Fault {
		if len(faults[op]) == 0 {
			return ledger.FaultNone
		}
		next := faults[op][0]
		faults[op] = faults[op][1:]
		return next
	})
}

func TestFaults(t *testing.T) {
	t.Parallel()
	const (
		none   = ledger.FaultNone
		refuse = ledger.FaultRefuse
		lose   = ledger.FaultLoseAnswer
		stale  = ledger.FaultStale
	)
	type faults = map[ledger.Op][]ledger.Fault
	old := func(status passcode.Status) *passcode.Result { r := record("r", 7, "w").In(status); return &r }
	tried := func(status passcode.Status) *passcode.Result {
		r := old(status)
		r.AttemptedAt = r.QueuedAt
		return r
	}
	replay := record("r", 8, "x")
	replay.Replays = 1

	for name, test := range map[string]struct {
		before *passcode.Result // what the bucket holds
		first  passcode.Result
		faults faults
		want   domain.ClaimState
	}{
		"the create is refused twice":        {nil, record("r", 7, "w"), faults{"create": {refuse, refuse}}, domain.ClaimWon},
		"the create's answer is lost":        {nil, record("r", 7, "w"), faults{"create": {lose}}, domain.ClaimWon},
		"it is lost, then a stale get":       {nil, record("r", 7, "w"), faults{"create": {lose}, "get": {stale, stale}}, domain.ClaimWon},
		"it is lost, then a failed get":      {nil, record("r", 7, "w"), faults{"create": {lose, refuse}, "get": {refuse}}, domain.ClaimWon},
		"lost over another's record":         {old("sending"), record("r", 8, "w"), faults{"create": {lose}}, domain.ClaimUnderWay},
		"refused over our own redelivery":    {old("sending"), record("r", 7, "x"), faults{"create": {refuse}}, domain.ClaimResumed},
		"the same bytes, no answer lost":     {old("sending"), record("r", 7, "w"), faults{"get": {stale}}, domain.ClaimResumed},
		"a stale get hides the record":       {old("sent"), record("r", 8, "w"), faults{"get": {stale, stale, stale}}, domain.ClaimDuplicate},
		"the reopening's answer is lost":     {old("dead_lettered"), replay, faults{"update": {lose}}, domain.ClaimReopened},
		"the reopening is refused":           {old("unknown"), replay, faults{"update": {refuse, refuse}}, domain.ClaimReopened},
		"reopened, lost, create lost too":    {old("unknown"), replay, faults{"update": {lose}, "create": {none, lose}}, domain.ClaimReopened},
		"reopened in doubt, its answer lost": {tried("unknown"), replay, faults{"update": {lose}}, domain.ClaimReopened},
		"reopened, lost, then a stale get":   {old("unknown"), replay, faults{"update": {lose}, "get": {none, stale}}, domain.ClaimReopened},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := ledger.NewMemory(time.Now)
				if test.before != nil {
					_, err := m.Claim(t.Context(), *test.before)
					require.NoError(t, err)
				}
				script(m, test.faults)
				claim, err := m.Claim(t.Context(), test.first)
				require.NoError(t, err)
				assert.Equal(t, test.want, claim.State)
				if test.want == domain.ClaimReopened {
					assert.Equal(t, ledger.Reopen(test.first, *test.before), claim.Record)
				}
				script(m, nil)
				stored, revision, err := m.Get(t.Context(), "r")
				require.NoError(t, err)
				assert.Equal(t, stored, claim.Record)
				assert.Equal(t, revision, claim.Revision)
			})
		})
	}
}

// A replay that reads an old state from a lagging follower must not be dropped
// as if its request were under way: nobody would send it.
func TestAReplayOutlastsAStaleReading(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := ledger.NewMemory(time.Now)
		claim, err := m.Claim(t.Context(), record("r", 7, "w"))
		require.NoError(t, err)
		_, err = m.Update(t.Context(), claim.Record.In(passcode.StatusDeadLettered), claim.Revision)
		require.NoError(t, err)
		script(m, map[ledger.Op][]ledger.Fault{"get": {ledger.FaultStale, ledger.FaultStale, ledger.FaultStale}})
		replay := record("r", 8, "w")
		replay.Replays = 1
		reopened, err := m.Claim(t.Context(), replay)
		require.NoError(t, err)
		assert.Equal(t, domain.ClaimReopened, reopened.State)
		assert.Equal(t, replay, reopened.Record)
	})
}

func TestAnUpdateWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		faults map[ledger.Op][]ledger.Fault
		rival  bool // somebody else updates between the first try and the second
		want   error
	}{
		"is found to be stored":       {faults: map[ledger.Op][]ledger.Fault{"update": {ledger.FaultLoseAnswer}}},
		"is found after a stale get":  {faults: map[ledger.Op][]ledger.Fault{"update": {ledger.FaultLoseAnswer}, "get": {ledger.FaultStale}}},
		"is repeated if it was not":   {faults: map[ledger.Op][]ledger.Fault{"update": {ledger.FaultRefuse}}},
		"is repeated many times":      {faults: map[ledger.Op][]ledger.Fault{"update": {ledger.FaultRefuse, ledger.FaultRefuse, ledger.FaultLoseAnswer, ledger.FaultRefuse}}},
		"is a conflict after a rival": {faults: map[ledger.Op][]ledger.Fault{"update": {ledger.FaultRefuse}}, rival: true, want: domain.ErrConflict},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := ledger.NewMemory(time.Now)
				claim, err := m.Claim(t.Context(), record("r", 7, "w"))
				require.NoError(t, err)
				script(m, test.faults)
				if test.rival {
					time.AfterFunc(time.Millisecond, func() { m.Put("r", []byte(`{"request_id":"r","status":"expired"}`)) })
				}
				next, err := m.Update(t.Context(), claim.Record.In(passcode.StatusSent), claim.Revision)
				if test.want != nil {
					require.ErrorIs(t, err, test.want)
					return
				}
				require.NoError(t, err)
				stored, revision, err := m.Get(t.Context(), "r")
				require.NoError(t, err)
				assert.Equal(t, passcode.StatusSent, stored.Status)
				assert.Equal(t, revision, next)
				assert.Equal(t, claim.Revision+1, next, "stored once")
			})
		})
	}
}

// A record whose answer was lost may have lost its announcement as well: the
// leader that had stored it died. Announced from here, it may come twice.
func TestARecordWhoseAnswerIsLostIsAnnounced(t *testing.T) {
	t.Parallel()
	const refuse, lose = ledger.FaultRefuse, ledger.FaultLoseAnswer
	replay := record("r", 8, "x")
	replay.Replays = 1
	for name, test := range map[string]struct {
		faults map[ledger.Op][]ledger.Fault
		want   []passcode.Status // of those announced, in order
	}{
		"no answer is lost":            {nil, nil},
		"nothing was stored":           {map[ledger.Op][]ledger.Fault{"create": {refuse}, "update": {refuse, refuse}}, nil},
		"the claim's is":               {map[ledger.Op][]ledger.Fault{"create": {lose}}, []passcode.Status{"sending"}},
		"the update's is":              {map[ledger.Op][]ledger.Fault{"update": {lose}}, []passcode.Status{"dead_lettered"}},
		"the reopening's is":           {map[ledger.Op][]ledger.Fault{"update": {ledger.FaultNone, lose}}, []passcode.Status{"sending"}},
		"the announcement fails twice": {map[ledger.Op][]ledger.Fault{"update": {lose}, "announce": {refuse, refuse}}, []passcode.Status{"dead_lettered"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := ledger.NewMemory(time.Now)
				script(m, test.faults)
				claim, err := m.Claim(t.Context(), record("r", 7, "w"))
				require.NoError(t, err)
				_, err = m.Update(t.Context(), claim.Record.In(passcode.StatusDeadLettered), claim.Revision)
				require.NoError(t, err)
				_, err = m.Claim(t.Context(), replay)
				require.NoError(t, err)
				var announced []passcode.Status
				for _, value := range m.Announced() {
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
		m := ledger.NewMemory(time.Now)
		m.Inject(func(ledger.Op, string) ledger.Fault { return ledger.FaultRefuse })
		cause := errors.New("the worker shuts down")
		for name, call := range map[string]func(context.Context) error{
			"claim":   func(ctx context.Context) error { _, err := m.Claim(ctx, record("r", 7, "w")); return err },
			"update":  func(ctx context.Context) error { _, err := m.Update(ctx, record("r", 7, "w"), 1); return err },
			"get":     func(ctx context.Context) error { _, _, err := m.Get(ctx, "r"); return err },
			"history": func(ctx context.Context) error { _, err := m.History(ctx, "r"); return err },
		} {
			began := time.Now()
			err := call(t.Context())
			require.ErrorIs(t, err, retry.ErrGaveUp, name)
			require.ErrorContains(t, err, name+" r: ")
			assert.Equal(t, retry.Default().Total, time.Since(began), name)

			ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
			began = time.Now()
			err = call(ctx)
			cancel()
			require.ErrorIs(t, err, cause, name)
			assert.Equal(t, time.Second, time.Since(began), name)
		}
	})
}
