package model_test

import (
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/consumer"
)

// This is a model checker: it visits every state that two workers and one request
// can get into, however their steps interleave, with at most so many mishaps.
//
// Real is all that decides: the whole consumer.Consumer, run up to its next operation on the world
// (worker_test.go); the ledger's judgement of a claim (domain.Judge, ledger.Reopen); the limiter's judgement
// and its document (ratelimit.Limiter); what an operator's replay decides (deadletter.Decide).
//
// Modelled is the world: the stream with its leases, delays and message ids; the record's revision and its
// announcement by the server; Aliyun, with messages that are on their way for up to the call's timeout and rows
// that a look-up doesn't find at once; the fence, as conn_test.go in internal/aliyun holds the sender to it;
// the three writes of a replay; time, which passes only while nobody has anything to do, or is frozen, and in
// leaps to the next moment at which something happens. All have the same clock, but in two searches.
//
// A mishap is the death of a worker between any two operations, a freeze of any length between any two
// operations or looks at the clock, an operation that fails or whose answer gets lost, an ack that gets lost, a
// look-up without an answer, a replay that is killed, a job that nobody takes until its code has expired. What
// is free, and so happens everywhere: the interleaving, also of a claim with the reservation that is begun before
// it, what Aliyun answers, a message that is lost on its way or its answer on the way back, a repeated job, a
// replay, another request of the same phone.
//
// Not modelled: renewed leases, the account breaker, undeliverable jobs, invalid
// jobs, and one worker that gets its own job a second time. Other tests have them.
//
// Each search goes on until nothing can happen any more, in each of its branches, and allows one mishap; some
// allow deaths and freezes alone. The environment's MODEL_MISHAPS=2 has every search allow two, of every kind:
// that takes minutes to hours and GiB of memory, so pick one with -run.

type search struct {
	name string
	settings
	atLeast int // states: fewer would mean that the model lost a part of the world
}

func modelPolicy() consumer.Policy {
	return consumer.Policy{
		PasscodeTTL: time.Hour, MaxAttempts: 2, MaxInterruptions: 3,
		Backoff:   func(_ string, attempt int) time.Duration { return time.Duration(attempt) * time.Second },
		Lookups:   []time.Duration{15 * time.Second},
		CallBound: 2 * callTicks * time.Second, Resend: true,
	}
}

// ordinary settings: Aliyun takes the message or it gets lost; one mishap.
func ordinary(change func(s *settings)) settings {
	s := settings{
		policy: modelPolicy(), expires: 600, transit: callTicks, lag: 5,
		answers: []uint8{outcomeOK}, left: budget{mishaps: 1},
	}
	if change != nil {
		change(&s)
	}
	return s
}

func searches() []search {
	return []search{
		{name: "one job", atLeast: 278_000, settings: ordinary(func(s *settings) {
			s.late = true
			s.policy.Lookups = []time.Duration{5 * time.Second, 15 * time.Second}
		})},
		{name: "an attempt that is refused for now", atLeast: 234_000, settings: ordinary(func(s *settings) {
			s.answers = []uint8{outcomeOK, outcomeTransient}
		})},
		{name: "a request that is refused", atLeast: 48_000, settings: refused(nil)},
		{name: "a refusal that a worker learns late", atLeast: 55_000, settings: ordinary(func(s *settings) {
			s.answers = []uint8{outcomeOK, outcomeConfig}
			s.deathsOnly, s.transit, s.lag = true, 0, 0
		})},
		{name: "an account that is closed for a while", atLeast: 150_000, settings: ordinary(func(s *settings) {
			s.answers = []uint8{outcomeOK, outcomeAccount}
			s.left.accounts = 1
			s.policy.MaxAttempts = 1
		})},
		{name: "a repeated job", atLeast: 352_000, settings: ordinary(func(s *settings) {
			s.late = true
			s.left.duplicates, s.policy.MaxAttempts, s.deathsOnly, s.transit, s.lag = 1, 1, true, 0, 0
		})},
		{name: "a repeated job whose first is gone", atLeast: 289_000, settings: ordinary(func(s *settings) {
			s.left.purges, s.policy.MaxAttempts, s.deathsOnly, s.transit, s.lag = 1, 1, true, 0, 0
			s.answers = []uint8{outcomeOK, outcomeTransient}
		})},
		{name: "another request of the phone", atLeast: 362_000, settings: ordinary(func(s *settings) {
			s.late = true
			s.left.others = 1
			s.answers = []uint8{outcomeOK, outcomeTransient}
		})},
		{name: "a code that soon expires", atLeast: 55_000, settings: ordinary(func(s *settings) {
			s.expires = 10
			s.answers = []uint8{outcomeOK, outcomeTransient}
		})},
		{name: "without resending", atLeast: 32_000, settings: ordinary(func(s *settings) { s.policy.Resend = false })},
		{name: "hasty look-ups", atLeast: 61_000, settings: ordinary(func(s *settings) {
			s.policy.Lookups = []time.Duration{time.Second, 2 * time.Second}
			s.transit, s.lag = 0, 0
		})},
		{name: "a worker whose clock is ahead", atLeast: 169_000, settings: skewed(5, 20*time.Second)},
		{name: "a worker whose clock is behind", atLeast: 195_000, settings: skewed(-5, 20*time.Second)},
		{name: "poison at once", atLeast: 137_000, settings: ordinary(func(s *settings) {
			s.policy.MaxInterruptions, s.policy.MaxAttempts = 1, 1
			s.left.replays, s.deathsOnly, s.transit, s.lag = 1, true, 0, 0
		})},
		{name: "a replay of what was refused", atLeast: 256_000, settings: ordinary(func(s *settings) {
			s.answers = []uint8{outcomeOK, outcomeConfig}
			s.policy.MaxAttempts = 1
			s.left.replays, s.deathsOnly, s.transit, s.lag = 1, true, 0, 0
		})},
		{name: "a replay of an unknown", atLeast: 146_000, settings: ordinary(func(s *settings) {
			s.policy.Resend = false
			s.left.replays, s.deathsOnly, s.transit, s.lag = 1, true, 0, 0
			s.ttl = 60
		})},
		{name: "a late replay of an unknown that Aliyun took", atLeast: 83_000, settings: ordinary(func(s *settings) {
			s.left.replays, s.deathsOnly, s.transit, s.lag = 1, true, 0, 0
			s.expires, s.blindUntil, s.ttl = 10, 60, 60
		})},
	}
}

// skewed settings: one worker's clock is that much ahead of the other's. Where they
// agree, this world needs its last look-up 15 seconds after an attempt: a call may be
// written for 5, be on its way for 5, and not be listed for 5.
func skewed(ahead int16, lastLookup time.Duration) settings {
	return ordinary(func(s *settings) {
		s.policy.Lookups = []time.Duration{5 * time.Second, lastLookup}
		s.ahead[1] = ahead
	})
}

// refused settings: Aliyun refuses for good.
func refused(effects []consumer.Effect) settings {
	return ordinary(func(s *settings) {
		s.answers = []uint8{outcomeOK, outcomeConfig, outcomeLimited, outcomeRecipient}
		s.policy.MaxAttempts = 1
		s.effects = effects
	})
}

func TestModel(t *testing.T) {
	t.Parallel()
	for _, row := range searches() {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if n := deepMishaps(t); n > 0 {
				row.left.mishaps, row.deathsOnly = n, false
			}
			m := newModel(row.settings)
			f := m.search()
			require.Empty(t, f.wrong, "%s", f)
			require.GreaterOrEqual(t, f.states, row.atLeast)
			t.Logf("%s, %d runs of the worker", f, m.runs)
		})
	}
}

// TestModelFindsClocksThatDisagree: the last look-up comes by as much too soon as a clock is ahead, and a
// second less is not enough. By exactly as much: the searches of TestModel hold.
func TestModelFindsClocksThatDisagree(t *testing.T) {
	t.Parallel()
	f := newModel(skewed(5, 19*time.Second)).search()
	require.Equal(t, atMostOnce, f.wrong, "%s", f)
	t.Log(f)
}

// deepMishaps is 0 where the environment doesn't ask for more.
func deepMishaps(t *testing.T) int8 {
	t.Helper()
	text := os.Getenv("MODEL_MISHAPS")
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 8)
	require.NoError(t, err, "MODEL_MISHAPS")
	return int8(n)
}

// TestModelFindsSwappedWrites: the order of a decision's writes is not a matter of taste. Each row has two of
// them change places, and says what breaks; or that nothing does, so that a later reader need not wonder.
func TestModelFindsSwappedWrites(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		a, b  string
		wrong string // empty: harmless
	}{
		// Neighbours.
		{"dead letter", "close phone", ""}, // no outcome has both
		{"close phone", "release", ""},     // both before the record, and each can be done twice
		{"release", "record", reservationKept},
		{"record", "announce", untrue},
		{"announce", "disposition", leftNoReply},
		// Further apart.
		{"dead letter", "release", ""}, // both before the record
		{"dead letter", "record", withoutLetter},
		{"close phone", "record", notClosed},
		{"record", "disposition", leftUnrecorded},
		{"dead letter", "disposition", leftUnrecorded},
	} {
		t.Run(row.a+" and "+row.b, func(t *testing.T) {
			t.Parallel()
			f := newModel(refused(swapped(t, row.a, row.b))).search()
			require.Equal(t, row.wrong, f.wrong, "%s", f)
			t.Log(f)
		})
	}
}

// swapped is the order of a decision's effects with two of them changed.
func swapped(t *testing.T, a, b string) []consumer.Effect {
	t.Helper()
	effects := slices.Clone(consumer.EffectsInOrder)
	named := func(name string) int {
		i := slices.IndexFunc(effects, func(e consumer.Effect) bool { return e.Name == name })
		require.GreaterOrEqual(t, i, 0, name)
		return i
	}
	i, j := named(a), named(b)
	effects[i], effects[j] = effects[j], effects[i]
	return effects
}
