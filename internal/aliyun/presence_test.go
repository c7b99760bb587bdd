package aliyun

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
)

func TestKnockReadsTheClockOfAnyAnswer(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name   string
		date   string
		status int
		ahead  time.Duration
		dated  bool
	}{
		{"on time", "Sun, 22 Nov 2026 12:00:00 GMT", 200, time.Second / 2, true},
		{"ahead", "Sun, 22 Nov 2026 12:20:00 GMT", 404, 20*time.Minute + time.Second/2, true},
		{"behind", "Sun, 22 Nov 2026 11:00:00 GMT", 503, -time.Hour + time.Second/2, true},
		{"a redirect", "Sun, 22 Nov 2026 12:00:00 GMT", 302, time.Second / 2, true},
		{"an older form", "Sunday, 22-Nov-26 12:00:30 GMT", 400, 30*time.Second + time.Second/2, true},
		{"no date", "", 400, 0, false},
		{"nonsense", "yesterday", 400, 0, false},
	} {
		service := newService(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Date"] = nil // the server would add its own
			if test.date != "" {
				w.Header().Set("Date", test.date)
			}
			w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
			w.WriteHeader(test.status)
		})
		options := testOptions(service.URL)
		options.Now = func() time.Time { return now }
		got, err := newTestSender(t, options).Knock(t.Context())
		require.NoError(t, err, test.name)
		assert.Equal(t, Presence{Status: test.status, Ahead: test.ahead, Dated: test.dated}, got, test.name)
		requests := service.got()
		require.Len(t, requests, 1, test.name)
		assert.Equal(t, "GET /", requests[0].Method+" "+requests[0].RequestURI)
		assert.Empty(t, requests[0].Header.Get("Authorization"))
	}
}

// The answer's clock is compared with ours halfway between question and answer.
func TestKnockAllowsForTheWay(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	service := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		clock.Add(2 * time.Second)
		w.Header().Set("Date", clock.Now().Format(http.TimeFormat))
		clock.Add(2 * time.Second)
	})
	options := testOptions(service.URL)
	options.Now = clock.Now
	got, err := newTestSender(t, options).Knock(t.Context())
	require.NoError(t, err)
	assert.Equal(t, time.Second/2, got.Ahead)
}

func TestKnockThatNobodyAnswers(t *testing.T) {
	t.Parallel()
	secure := httptest.NewTLSServer(http.HandlerFunc(ok))
	t.Cleanup(secure.Close)
	for _, test := range []struct{ endpoint, code string }{
		{"http://127.0.0.1:1", "connection_refused"},
		{secure.URL, "tls"},
		{"http://nobody.invalid", "dns"},
		{newService(t, dropped).URL, "connection_closed"},
	} {
		_, err := newTestSender(t, testOptions(test.endpoint)).Knock(t.Context())
		var inquiry *answer.Failure
		require.ErrorAs(t, err, &inquiry)
		assert.Equal(t, answer.Unreachable, inquiry.Reason())
		assert.Equal(t, test.code, inquiry.Code)
		assert.NotEmpty(t, inquiry.Message)
		assert.NotContains(t, err.Error(), "://")
	}
}
