package emulator

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
)

// wire is an emulator behind a real server, and a client of it.
type wire struct {
	e      *Emulator
	url    *url.URL
	client *http.Client
}

func newWire(t *testing.T, opts Options) wire {
	t.Helper()
	e, _ := newTest(t, opts)
	server := httptest.NewServer(e)
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		e.Close() // first, since the server waits for the handlers that hang
		server.Close()
	})
	u, err := url.Parse(server.URL)
	require.NoError(t, err)
	return wire{e, u, &http.Client{Transport: transport}}
}

// send sends a request to the emulator's address.
func (w wire) send(ctx context.Context, r *http.Request) (*http.Response, error) {
	r.RequestURI, r.URL.Host = "", w.url.Host
	// The body's own kind makes the client know that it can't be sent again.
	return w.client.Do(r.WithContext(ctx))
}

func (w wire) sms(ctx context.Context, changes ...string) (*http.Response, error) {
	return w.send(ctx, signed(w.e, gateway.ActionSendSms, sending(changes...)))
}

// start sends an SMS and returns at once. The request must fail.
func (w wire) start(ctx context.Context) (failed <-chan error) {
	end := make(chan error, 1)
	go func() {
		_, err := w.sms(ctx) //nolint:bodyclose // there is none
		end <- err
	}()
	return end
}

func TestConnectionFaultsOnTheWire(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		spec     string
		accepted bool
		want     error
	}{
		{"drop", false, io.EOF},
		{"accept_drop", true, io.EOF},
		{"reset", false, syscall.ECONNRESET},
		{"accept_reset", true, syscall.ECONNRESET},
	} {
		t.Run(row.spec, func(t *testing.T) {
			t.Parallel()
			w := newWire(t, Options{Faults: []string{row.spec + ",count=1"}})
			resp, err := w.sms(t.Context()) //nolint:bodyclose // there is none
			require.Error(t, err)
			assert.Nil(t, resp)
			assert.ErrorIs(t, err, row.want)
			assert.Equal(t, row.accepted, len(w.e.Sent()) == 1)
			assert.Equal(t, map[string]int64{row.spec: 1}, w.e.Stats().Answers)

			resp, err = w.sms(t.Context())
			require.NoError(t, err, "the next is answered again")
			assert.Equal(t, http.StatusOK, resp.StatusCode)
			require.NoError(t, resp.Body.Close())
		})
	}
}

func TestBrokenAnswersOnTheWire(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		spec     string
		accepted bool
		status   int
		kind     string
		body     string
	}{
		{"html502", false, 502, typeHTML, page502},
		{"accept_html502", true, 502, typeHTML, page502},
		{"empty", false, 200, typeJSON, ""},
		{"accept_empty", true, 200, typeJSON, ""},
		{"garbage", false, 200, typeJSON, `{"Message":"OK","RequestId":"`},
		{"accept_garbage", true, 200, typeJSON, `{"Message":"OK","RequestId":"`},
	} {
		t.Run(row.spec, func(t *testing.T) {
			t.Parallel()
			w := newWire(t, Options{Faults: []string{row.spec}})
			resp, err := w.sms(t.Context())
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, row.status, resp.StatusCode)
			assert.Equal(t, row.kind, resp.Header.Get("Content-Type"))
			assert.Equal(t, row.body, string(body))
			assert.Equal(t, row.accepted, len(w.e.Sent()) == 1)
		})
	}
}

// TestARequestEndsWithItsClient, whether it hangs or waits for the latency. A message is
// accepted before, and stays accepted.
func TestARequestEndsWithItsClient(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		opts     Options
		accepted bool
	}{
		"hang":        {Options{Faults: []string{"hang,count=1"}}, false},
		"accept_hang": {Options{Faults: []string{"accept_hang,count=1"}}, true},
		"latency":     {Options{Latency: time.Hour}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWire(t, row.opts)
			ctx, cancel := context.WithCancel(t.Context())
			failed := w.start(ctx)
			require.Eventually(t, func() bool { return w.e.Stats().Requests["SendSms"] == 1 }, 5*time.Second, time.Millisecond)
			assert.Equal(t, row.accepted, len(w.e.Sent()) == 1)
			assert.Equal(t, int64(1), w.e.Stats().InFlight)
			cancel()
			assert.ErrorIs(t, <-failed, context.Canceled)
			require.Eventually(t, func() bool { return w.e.Stats().InFlight == 0 }, 5*time.Second, time.Millisecond)
			assert.Equal(t, row.accepted, len(w.e.Sent()) == 1)
		})
	}
}

// TestCloseEndsWhatHangs: Close returns, and the client sees the connection end.
func TestCloseEndsWhatHangs(t *testing.T) {
	t.Parallel()
	w := newWire(t, Options{Faults: []string{"hang"}})
	failed := w.start(t.Context())
	require.Eventually(t, func() bool { return w.e.Stats().InFlight == 1 }, 5*time.Second, time.Millisecond)
	w.e.Close()
	w.e.Close() // a second time does nothing
	assert.ErrorIs(t, <-failed, io.EOF)
	assert.Zero(t, w.e.Stats().InFlight)

	resp, err := w.sms(t.Context())
	require.NoError(t, err)
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.NoError(t, resp.Body.Close())
}

// noted is a response writer that notes when each piece of the body came.
type noted struct {
	*httptest.ResponseRecorder
	at []time.Time
}

func (n *noted) Write(p []byte) (int, error) {
	n.at = append(n.at, time.Now())
	return n.ResponseRecorder.Write(p)
}

func TestTimes(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		spec   string
		opts   Options
		action string
		want   time.Duration
		pieces int
	}{
		{"", Options{}, gateway.ActionSendSms, 0, 1},
		{"", Options{Latency: 50 * time.Millisecond}, gateway.ActionSendSms, 50 * time.Millisecond, 1},
		{"", Options{Latency: 50 * time.Millisecond}, gateway.ActionQuerySendDetails, 50 * time.Millisecond, 1},
		{"latency=2s", Options{Latency: 50 * time.Millisecond}, gateway.ActionSendSms, 2 * time.Second, 1},
		{"code=ServiceUnavailable,latency=3s", Options{}, gateway.ActionSendSms, 3 * time.Second, 1},
		{"lag=3s", Options{Latency: time.Second}, gateway.ActionSendSms, time.Second, 1},
		{"slow", Options{}, gateway.ActionSendSms, 5 * time.Second, 80},
		{"slow,duration=1h,latency=1s", Options{}, gateway.ActionSendSms, time.Hour + time.Second, 80},
		{"slow,action=QuerySendDetails", Options{}, gateway.ActionQuerySendDetails, 5 * time.Second, 80},
	} {
		synctest.Test(t, func(t *testing.T) {
			if row.spec != "" {
				row.opts.Faults = []string{row.spec}
			}
			row.opts.Now = time.Now
			e := mustNew(t, row.opts)
			defer e.Close()
			params := sending()
			if row.action == gateway.ActionQuerySendDetails {
				params = looking()
			}
			began := time.Now()
			w := &noted{ResponseRecorder: httptest.NewRecorder()}
			e.ServeHTTP(w, signed(e, row.action, params))
			took := time.Since(began)
			assert.InDelta(t, row.want, took, float64(time.Microsecond), "%+v", row)
			assert.GreaterOrEqual(t, len(w.at), row.pieces, "%+v", row)
			assert.Equal(t, row.pieces == 1, len(w.at) == 1, "%+v", row)
			assert.Contains(t, w.Body.String(), `"Code":"`)
		})
	}
}

// TestSlowEndsWithTheClient: an hour's drip does not outlive its reader.
func TestSlowEndsWithTheClient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := mustNew(t, Options{Faults: []string{"slow,duration=1h"}})
		defer e.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		e.ServeHTTP(httptest.NewRecorder(), signed(e, gateway.ActionSendSms, sending()).WithContext(ctx))
		assert.Equal(t, time.Second, time.Since(began))
		assert.Len(t, e.Sent(), 1)
	})
}

// TestAbortWithoutHijacking covers servers that don't hand out connections.
func TestAbortWithoutHijacking(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{Faults: []string{"drop"}})
	assert.PanicsWithValue(t, http.ErrAbortHandler, func() {
		e.ServeHTTP(httptest.NewRecorder(), signed(e, gateway.ActionSendSms, sending()))
	})
	assert.Zero(t, e.Stats().InFlight)
}
