package account

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/buckettest"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

func (r replica) holds(d time.Duration, reason string) Pause {
	r.t.Helper()
	p, err := r.Hold(r.t.Context(), d, reason)
	require.NoError(r.t, err)
	return p
}

func (r replica) resumes() Resumed {
	r.t.Helper()
	got, err := r.Resume(r.t.Context())
	require.NoError(r.t, err)
	return got
}

func (r replica) knows(until time.Time) (Pause, bool) {
	r.t.Helper()
	p, err := r.Holder(r.t.Context(), until)
	require.NoError(r.t, err)
	return p, !p.At.IsZero()
}

func TestHoldAndResume(t *testing.T) {
	t.Parallel()
	c := fake.NewClock()
	m := newBroker(c.Now)
	alice, worker := newReplica(t, m, "alice@desk"), newReplica(t, m, "w1")

	got := alice.resumes()
	assert.False(t, got.Paused, "nothing was paused")

	p := alice.holds(10*time.Minute, " a\nnew  template ")
	assert.Equal(t, c.Now().Add(10*time.Minute).Truncate(time.Millisecond), p.Until)
	assert.Equal(t, p.Until, m.pausedUntil())
	assert.Equal(t, "a new template", p.Reason, "on one line")
	assert.Equal(t, "alice@desk", p.By)
	assert.True(t, p.Until.Before(Forever))
	known, ok := worker.knows(p.Until.Add(3 * time.Millisecond)) // as a replica computes it
	assert.True(t, ok)
	assert.Equal(t, p, known)
	_, ok = worker.knows(p.Until.Add(time.Minute))
	assert.False(t, ok, "another end is another's pause")

	p = alice.holds(0, "")
	assert.Equal(t, Forever, m.pausedUntil(), "the end of a pause can be changed")
	assert.False(t, p.Until.Before(Forever))
	p = alice.holds(time.Minute, "")
	assert.Equal(t, p.Until, m.pausedUntil(), "to an earlier one too")

	got = alice.resumes()
	assert.True(t, got.Paused)
	assert.Equal(t, p, got.Pause)
	assert.Zero(t, m.pausedUntil())
	_, ok = worker.knows(p.Until)
	assert.False(t, ok, "the note is gone with the pause")

	m.pauseUntil(c.Now().Add(time.Hour)) // by another tool
	got = alice.resumes()
	assert.True(t, got.Paused)
	assert.Zero(t, got.Pause.At)
	assert.Equal(t, c.Now().Add(time.Hour), got.Pause.Until)
	assert.Zero(t, m.pausedUntil())
}

// TestHoldBesideAClosedAccount: neither pause cuts the other short, and ending
// them has the account probed.
func TestHoldBesideAClosedAccount(t *testing.T) {
	t.Parallel()
	c, m, a, operator := pair(t)
	a.trips(initial)
	operator.syncs()
	account := m.pausedUntil()
	p := operator.holds(time.Second, "short")
	assert.Equal(t, account, m.pausedUntil())
	assert.Equal(t, account, p.Until)

	p = operator.holds(time.Hour, "long")
	c.Move(initial)
	a.admits(probe) // a job that was in hand already
	a.passes()
	assert.Equal(t, p.Until, m.pausedUntil())

	a.trips(initial)
	operator.syncs()
	got := operator.resumes()
	assert.True(t, got.Paused)
	assert.Equal(t, "long", got.Pause.Reason)
	assert.Equal(t, PhasePaused, got.Account.Phase)
	assert.Zero(t, m.pausedUntil())
	a.syncs()
	a.admits(probe)
}

// TestStaleNote: a note that outlived its pause explains no other and changes
// nothing.
func TestStaleNote(t *testing.T) {
	t.Parallel()
	c, m, a, _ := pair(t)
	a.holds(0, "weekend")
	m.pauseUntil(time.Time{}) // resumed by another tool
	a.trips(initial)
	_, ok := a.knows(m.pausedUntil())
	assert.False(t, ok)
	c.Move(initial)
	a.admits(probe)
	a.passes()
	assert.Zero(t, m.pausedUntil())

	for _, rubbish := range []string{"", "{}", "rubbish", `{"until":1}`, strings.Repeat(" ", maxStateBytes) + "{}"} {
		m.Put(noteKey, []byte(rubbish))
		_, ok := a.knows(Forever)
		assert.False(t, ok, "%.20q", rubbish)
		a.holds(0, "again")
		_, ok = a.knows(Forever)
		assert.True(t, ok, "%.20q", rubbish)
	}
}

// TestNoteIsKept for longer than the bucket keeps what nobody writes.
func TestNoteIsKept(t *testing.T) {
	t.Parallel()
	c, m, a, _ := pair(t)
	m.Retain(24 * time.Hour)
	a.holds(0, "weekend")
	written := m.Entry(noteKey).Revision
	c.Move(11 * time.Hour)
	a.knows(Forever)
	assert.Equal(t, written, m.Entry(noteKey).Revision)
	c.Move(2 * time.Hour)
	p, ok := a.knows(Forever)
	assert.True(t, ok)
	assert.Equal(t, written+1, m.Entry(noteKey).Revision)
	assert.Equal(t, "weekend", p.Reason)
	a.knows(Forever)
	assert.Equal(t, written+1, m.Entry(noteKey).Revision, "once")
}

// TestHoldInTrouble: an answer that is lost is asked for again, and a reason
// that is too long is cut.
func TestHoldInTrouble(t *testing.T) {
	t.Parallel()
	_, m, a, _ := pair(t)
	m.Script(map[buckettest.Op][]buckettest.Fault{buckettest.Write: {buckettest.LoseAnswer, buckettest.LoseAnswer}})
	p := a.holds(time.Minute, strings.Repeat("é", maxReasonBytes))
	assert.Len(t, p.Reason, maxReasonBytes)
	assert.Equal(t, p.Until, m.pausedUntil())
}
