package deadletter_test

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

// put writes dead letter number n.
func put(t *testing.T, store *deadletter.Store, n int, change func(*domain.DeadLetter)) {
	t.Helper()
	d := letter("the job")
	d.RequestID = fmt.Sprintf("r%d", n)
	d.Origin.Seq = uint64(n)
	if change != nil {
		change(&d)
	}
	require.NoError(t, store.Write(t.Context(), d))
}

func browse(t *testing.T, js jetstream.JetStream) *deadletter.Browser {
	t.Helper()
	b, err := deadletter.Browse(t.Context(), js, "PASSCODE_DEAD", "passcode.dead")
	require.NoError(t, err)
	return b
}

// requireBoth reads what a filter picks in both directions.
func requireBoth(t *testing.T, b *deadletter.Browser, f deadletter.Filter, want []string) {
	t.Helper()
	assert.Equal(t, want, ids(t, b.OldestFirst(t.Context(), f)))
	newest := slices.Clone(want)
	slices.Reverse(newest)
	assert.Equal(t, newest, ids(t, b.NewestFirst(t.Context(), f)))
}

// ids reads dead letters to the end.
func ids(t *testing.T, letters iter.Seq2[deadletter.Stored, error]) []string {
	t.Helper()
	var ids []string
	for s, err := range letters {
		require.NoError(t, err)
		ids = append(ids, s.ID)
	}
	return ids
}

func TestBrowsingIsCompleteInBothDirections(t *testing.T) {
	t.Parallel()
	const n = 1200
	reason := func(i int) passcode.Reason { return passcode.Reasons()[i%4] }
	for _, test := range []struct {
		name string
		kept func(i int) bool
	}{
		{"every sequence", func(int) bool { return true }},
		{"a few far apart", func(i int) bool { return i%400 == 7 }},
		{"only the first and the last", func(i int) bool { return i == 1 || i == n }},
		{"a dense end after a long gap", func(i int) bool { return i == 3 || i > 900 }},
		{"nothing", func(int) bool { return false }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			store, stream, js := start(t)
			var all, config []string
			for i := 1; i <= n; i++ {
				put(t, store, i, func(d *domain.DeadLetter) { d.Reason = reason(i) })
			}
			for i := 1; i <= n; i++ {
				if !test.kept(i) {
					require.NoError(t, stream.DeleteMsg(t.Context(), uint64(i)))
					continue
				}
				all = append(all, fmt.Sprintf("r%d", i))
				if reason(i) == passcode.ReasonConfig {
					config = append(config, all[len(all)-1])
				}
			}
			b := browse(t, js)
			requireBoth(t, b, deadletter.Filter{}, all)
			requireBoth(t, b, deadletter.Filter{Reasons: []passcode.Reason{passcode.ReasonConfig}}, config)
		})
	}
}

func TestBrowsingAndRemoving(t *testing.T) {
	t.Parallel()
	store, _, js := start(t)
	b := browse(t, js)
	requireBoth(t, b, deadletter.Filter{}, nil)
	put(t, store, 1, nil)
	require.NoError(t, b.Remove(t.Context(), 1))
	requireBoth(t, b, deadletter.Filter{}, nil) // emptied, after it was never written to
	_, err := b.Get(t.Context(), 1)
	require.ErrorIs(t, err, deadletter.ErrGone)
	require.NoError(t, b.Remove(t.Context(), 1), "what is gone is removed")
	require.NoError(t, b.Remove(t.Context(), 77), "what never was too")
}

// TestBrowsingLargeJobs: more than fits into one batch by its bytes.
func TestBrowsingLargeJobs(t *testing.T) {
	t.Parallel()
	store, _, js := start(t)
	var want []string
	for i := 1; i <= 10; i++ {
		put(t, store, i, func(d *domain.DeadLetter) { d.Body = []byte(strings.Repeat("x", 900<<10)) })
		want = append(want, fmt.Sprintf("r%d", i))
	}
	requireBoth(t, browse(t, js), deadletter.Filter{}, want)
}

func TestBrowsingLeavesOutWhatComesMeanwhile(t *testing.T) {
	t.Parallel()
	for _, direction := range []func(*deadletter.Browser, context.Context, deadletter.Filter) iter.Seq2[deadletter.Stored, error]{
		(*deadletter.Browser).OldestFirst, (*deadletter.Browser).NewestFirst,
	} {
		store, _, js := start(t)
		put(t, store, 1, nil)
		put(t, store, 2, nil)
		var seen []string
		for s, err := range direction(browse(t, js), t.Context(), deadletter.Filter{}) {
			require.NoError(t, err)
			seen = append(seen, s.ID)
			put(t, store, 100+len(seen), nil)
			require.Less(t, len(seen), 50, "it would never end")
		}
		assert.ElementsMatch(t, []string{"r1", "r2"}, seen)
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	_, _, js := start(t)
	hour := func(n int) time.Time { return deadAt.Add(time.Duration(n) * time.Hour) }
	for i, l := range []struct {
		reason passcode.Reason
		id     string
		code   string
	}{
		{passcode.ReasonConfig, "a", "isv.X"}, {passcode.ReasonConfig, "b", "isv.Y"},
		{passcode.ReasonPoison, "a", "isv.X"}, {passcode.ReasonInvalid, "", "invalid_job"},
	} {
		d := letter("the job")
		d.Reason, d.RequestID, d.ErrorCode, d.Origin.Seq = l.reason, l.id, l.code, uint64(i+1)
		at := hour(i)
		store := &deadletter.Store{JS: js, Stream: "PASSCODE_DEAD", Subject: "passcode.dead", Now: func() time.Time { return at }}
		require.NoError(t, store.Write(t.Context(), d))
	}
	b := browse(t, js)
	for _, test := range []struct {
		filter deadletter.Filter
		want   []uint64
	}{
		{deadletter.Filter{}, []uint64{1, 2, 3, 4}},
		{deadletter.Filter{IDs: []string{"a"}}, []uint64{1, 3}},
		{deadletter.Filter{IDs: []string{"a", "b"}}, []uint64{1, 2, 3}},
		{deadletter.Filter{IDs: []string{"seq-4"}}, []uint64{4}},
		{deadletter.Filter{IDs: []string{"nobody"}}, nil},
		{deadletter.Filter{Reasons: []passcode.Reason{passcode.ReasonConfig}}, []uint64{1, 2}},
		{deadletter.Filter{Reasons: []passcode.Reason{passcode.ReasonConfig, passcode.ReasonInvalid}}, []uint64{1, 2, 4}},
		{deadletter.Filter{Reasons: []passcode.Reason{passcode.ReasonConfig}, IDs: []string{"a"}}, []uint64{1}},
		{deadletter.Filter{ErrorCodes: []string{"isv.X"}}, []uint64{1, 3}},
		{deadletter.Filter{ErrorCodes: []string{"isv.X", "isv.Y"}, Reasons: []passcode.Reason{passcode.ReasonConfig}}, []uint64{1, 2}},
		{deadletter.Filter{Since: hour(1)}, []uint64{2, 3, 4}},
		{deadletter.Filter{Until: hour(1)}, []uint64{1}},
		{deadletter.Filter{Since: hour(1), Until: hour(3)}, []uint64{2, 3}},
	} {
		var got []uint64
		for s, err := range b.OldestFirst(t.Context(), test.filter) {
			require.NoError(t, err)
			got = append(got, s.Seq)
		}
		assert.Equal(t, test.want, got, "%+v", test.filter)
	}
}

func TestBrowsingShowsWhatIsNoDeadLetter(t *testing.T) {
	t.Parallel()
	_, _, js := start(t)
	for _, subject := range []string{"passcode.dead.config.x", "passcode.dead.else", "passcode.dead.a.b.c"} {
		_, err := js.Publish(t.Context(), subject, []byte("hello"))
		require.NoError(t, err)
	}
	b := browse(t, js)
	n := 0
	for s, err := range b.OldestFirst(t.Context(), deadletter.Filter{}) {
		require.NoError(t, err)
		require.ErrorIs(t, s.Err, deadletter.ErrCorrupt)
		assert.False(t, s.DeadAt.IsZero())
		n++
	}
	assert.Equal(t, 3, n)
	s, err := b.Get(t.Context(), 1)
	require.NoError(t, err)
	assert.Equal(t, passcode.ReasonConfig, s.Reason)
	assert.Equal(t, "x", s.ID)
	assert.Empty(t, s.Request())
}

// TestBrowsingOutlivesTheBroker: the list goes on where it was.
func TestBrowsingOutlivesTheBroker(t *testing.T) {
	t.Parallel()
	server := brokertest.Server(t)
	_, js := server.Connect()
	store, _ := startOn(t, js)
	for i := 1; i <= 1200; i++ {
		put(t, store, i, nil)
	}
	b := browse(t, js)
	n := 0
	for _, err := range b.OldestFirst(t.Context(), deadletter.Filter{}) {
		require.NoError(t, err)
		if n++; n == 300 {
			server.Stop()
			server.Restart()
		}
	}
	assert.Equal(t, 1200, n)
}

func TestBrowsingSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	_, err := deadletter.Browse(t.Context(), js, "PASSCODE_DEAD", "passcode.dead")
	require.ErrorIs(t, err, deadletter.ErrNoStream)
	_, stream := startOn(t, js)
	config := stream.CachedInfo().Config
	config.AllowDirect = false
	_, err = js.UpdateStream(t.Context(), config)
	require.NoError(t, err)
	_, err = deadletter.Browse(t.Context(), js, "PASSCODE_DEAD", "passcode.dead")
	require.ErrorContains(t, err, "--allow-direct")
}
