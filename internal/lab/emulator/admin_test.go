package emulator

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

func admin(e *Emulator, method, route, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest(method, "http://127.0.0.1"+route, strings.NewReader(body)))
	return w
}

func TestAdminSent(t *testing.T) {
	t.Parallel()
	e, c := newTest(t, Options{})
	w := admin(e, http.MethodGet, "/_/sent", "")
	assert.Equal(t, 200, w.Code)
	assert.Empty(t, w.Body.String())

	c.Move(1234567)
	first := mustSend(t, e, "TemplateParam", `{"code":"0012","product":"a&b"}`)
	mustSend(t, e, "PhoneNumbers", "85268326366")
	w = admin(e, http.MethodGet, "/_/sent", "")
	assert.Equal(t, "application/x-ndjson", w.Header().Get("Content-Type"))
	lines := strings.Split(strings.TrimSuffix(w.Body.String(), "\n"), "\n")
	require.Len(t, lines, 2)
	assert.Equal(t, `{"phone":"13812345678","out_id":"req-1","biz_id":"`+first.BizID+`","code":"0012",`+
		`"at":"2026-11-22T04:30:00.001234567Z","template_code":"SMS_1","sign_name":"阿里云",`+
		`"params":{"code":"0012","product":"a&b"}}`, lines[0])
	for i, want := range e.Sent() {
		var got Sent
		require.NoError(t, json.Unmarshal([]byte(lines[i]), &got))
		assert.Equal(t, want, got)
	}
}

func TestAdminStats(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{Faults: []string{"throttle,count=2", "accept_code=InternalError,count=1"}})
	for range 4 {
		do(t, e, gateway.ActionSendSms, sending())
	}
	do(t, e, gateway.ActionSendSms, sending("PhoneNumbers", "1"))
	do(t, e, gateway.ActionQuerySendDetails, looking())
	do(t, e, "Nonsense", nil)
	want := Stats{
		Requests: map[string]int64{"SendSms": 5, "QuerySendDetails": 1, "unknown": 1},
		Answers: map[string]int64{
			"OK": 2, "Throttling.User": 2, "InternalError": 1, codeNumberIllegal: 1, "InvalidAction.NotFound": 1,
		},
		Accepted: 2, Throttled: 2, Faults: 3, MaxInFlight: 1,
	}
	assert.Equal(t, want, e.Stats())
	var got Stats
	require.NoError(t, json.Unmarshal(admin(e, http.MethodGet, "/_/stats", "").Body.Bytes(), &got))
	assert.Equal(t, want, got, "looking changes nothing")

	e.Stats().Answers["OK"] = 99
	assert.Equal(t, want, e.Stats(), "what is returned is a copy")
}

func TestAdminReset(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{
		Limits: true, MaxQPS: 1, Faults: []string{"latency=1ns"}, ReportURL: "http://127.0.0.1:1/", ReportWaits: []time.Duration{time.Hour},
	})
	mustSend(t, e)
	require.Eventually(t, func() bool { return e.Stats().Reports.Failed == 1 }, 5*time.Second, time.Millisecond)
	assert.Equal(t, http.StatusNoContent, admin(e, http.MethodPost, "/_/reset", "").Code)
	assert.Empty(t, e.Sent())
	assert.Equal(t, Stats{Requests: map[string]int64{}, Answers: map[string]int64{}}, e.Stats())
	assert.JSONEq(t, "[]", admin(e, http.MethodGet, "/_/faults", "").Body.String())
	assert.Zero(t, do(t, e, gateway.ActionQuerySendDetails, looking()).TotalCount)
	mustSend(t, e) // neither the limits nor the throttle remember the first
}

func TestAdminFaults(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{})
	w := admin(e, http.MethodPost, "/_/faults", "code=A,count=1\ncode=B,phone=13812345678")
	assert.Equal(t, 200, w.Code)
	for _, want := range []string{"A", "B", "B"} {
		assert.Equal(t, want, do(t, e, gateway.ActionSendSms, sending()).Code, "the first that matches fires")
	}
	listed := admin(e, http.MethodGet, "/_/faults", "").Body.String()
	assert.JSONEq(t, `[{"spec":"code=A,count=1","fired":1,"gone":true},
		{"spec":"code=B,phone=13812345678","fired":2,"gone":false}]`, listed)

	w = admin(e, http.MethodPost, "/_/faults", "code=A\nsnow")
	assert.Equal(t, http.StatusBadRequest, w.Code)
	assert.Contains(t, w.Body.String(), "line 2: fault: the kind must be one of")
	assert.JSONEq(t, listed, admin(e, http.MethodGet, "/_/faults", "").Body.String(), "what is wrong changes nothing")

	assert.Equal(t, http.StatusNoContent, admin(e, http.MethodDelete, "/_/faults", "").Code)
	mustSend(t, e)
	require.Equal(t, 200, admin(e, http.MethodPost, "/_/faults", "code=C").Code)
	assert.Equal(t, 200, admin(e, http.MethodPost, "/_/faults", "").Code, "an empty body sets none")
	mustSend(t, e)
	assert.Equal(t, http.StatusBadRequest, admin(e, http.MethodPost, "/_/faults", strings.Repeat(" ", maxFaultsBody+1)).Code)
}

func TestAdminRoutes(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{})
	assert.Equal(t, http.StatusNotFound, admin(e, http.MethodGet, "/_/other", "").Code)
	assert.Equal(t, http.StatusNotFound, admin(e, http.MethodGet, "/_/", "").Code)
	for route, allow := range map[string]string{
		"sent": "GET, HEAD", "stats": "GET, HEAD", "reset": "POST", "faults": "DELETE, GET, HEAD, POST",
	} {
		w := admin(e, http.MethodPatch, "/_/"+route, "")
		assert.Equal(t, http.StatusMethodNotAllowed, w.Code)
		assert.Equal(t, allow, w.Header().Get("Allow"))
	}
	assert.Empty(t, e.Stats().Requests, "these are no requests of the API")
}

// TestLogsHoldNoSecrets runs through every way of logging at the lowest level.
func TestLogsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	var log fake.Buffer
	e, _ := newTest(t, Options{
		Logger:    slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		ReportURL: "http://127.0.0.1:1/secret-path", ReportWaits: []time.Duration{}, AccessKeySecret: "key-secret",
		AccessKeyID: "id",
	})
	require.Equal(t, 200, admin(e, http.MethodPost, "/_/faults", "code=A,phone=13899998888,count=1").Code)
	do(t, e, gateway.ActionSendSms, sending("PhoneNumbers", "13899998888"))
	mustSend(t, e, "TemplateParam", `{"code":"778899"}`)
	do(t, e, gateway.ActionQuerySendDetails, looking())
	r := signed(e, gateway.ActionSendSms, sending())
	r.URL.RawQuery = "More=1"
	serve(t, e, r)
	require.Eventually(t, func() bool { return e.Stats().Reports.GivenUp == 1 }, 5*time.Second, time.Millisecond)
	admin(e, http.MethodDelete, "/_/faults", "")
	admin(e, http.MethodPost, "/_/reset", "")
	e.Close()
	text := log.String()
	for _, want := range []string{"request answered", "faults set", "faults cleared", "reset", "delivery reports"} {
		assert.Contains(t, text, want)
	}
	for _, secret := range []string{"13812345678", "13899998888", "778899", "123456", "secret-path", "key-secret"} {
		assert.NotContains(t, text, secret)
	}
}

func TestAdminSentAfter(t *testing.T) {
	t.Parallel()
	e, c := newTest(t, Options{Keep: time.Minute})
	ids := func(query string) []string {
		t.Helper()
		w := admin(e, http.MethodGet, "/_/sent"+query, "")
		require.Equal(t, http.StatusOK, w.Code)
		got := []string{}
		for line := range strings.Lines(w.Body.String()) {
			var s Sent
			require.NoError(t, json.Unmarshal([]byte(line), &s))
			got = append(got, s.OutID)
		}
		return got
	}
	mustSend(t, e, "OutId", "a")
	mustSend(t, e, "OutId", "b")
	c.Move(40 * time.Second)
	mustSend(t, e, "OutId", "c")
	assert.Equal(t, []string{"a", "b", "c"}, ids(""))
	assert.Equal(t, []string{"b", "c"}, ids("?after=1"))
	assert.Empty(t, ids("?after=3"))
	assert.Empty(t, ids("?after=9"), "not accepted yet")
	assert.Equal(t, http.StatusBadRequest, admin(e, http.MethodGet, "/_/sent?after=-1", "").Code)
	assert.Equal(t, http.StatusBadRequest, admin(e, http.MethodGet, "/_/sent?after=x", "").Code)

	c.Move(40 * time.Second) // the first two are older than a minute now
	mustSend(t, e, "OutId", "d")
	assert.Equal(t, []string{"c", "d"}, ids(""))
	assert.Equal(t, []string{"d"}, ids("?after=3"))
	assert.Equal(t, []string{"c", "d"}, ids("?after=2"))
	gone := admin(e, http.MethodGet, "/_/sent?after=1", "")
	assert.Equal(t, http.StatusGone, gone.Code)
	assert.Contains(t, gone.Body.String(), "the first 2 messages")

	e.Reset()
	mustSend(t, e, "OutId", "e")
	assert.Equal(t, []string{"e"}, ids("?after=0"))
}

// TestKeptMessages: look-ups find what is kept alone, and the memory of the rest
// is given back.
func TestKeptMessages(t *testing.T) {
	t.Parallel()
	e, c := newTest(t, Options{Keep: time.Minute})
	mustSend(t, e, "PhoneNumbers", "85268326366", "OutId", "old")
	for range 600 {
		c.Move(time.Second)
		mustSend(t, e, "OutId", "often")
	}
	assert.Len(t, e.Sent(), 61)
	e.mu.Lock()
	defer e.mu.Unlock()
	assert.Len(t, e.store.byPhone, 1, "the other phone is dropped with its message")
	assert.Len(t, e.store.byPhone["13812345678"], 61)
	assert.LessOrEqual(t, cap(e.store.all), 128)
	assert.Equal(t, 540, e.store.dropped)
}

// FuzzAdmin asks anything of the administration. Nothing in it is an error of the
// server's, no refusal repeats a value, which may be a phone number, and what it
// shows of its faults can be set again.
func FuzzAdmin(f *testing.F) {
	f.Add("POST", "faults", []byte("code=isv.BUSINESS_LIMIT_CONTROL,phone=PHONE,count=2\nlatency=50ms,share=0.5"))
	f.Add("POST", "faults", []byte("code=Throttling,status=400\naccept_drop,count=1\nhang,duration=1s"))
	f.Add("POST", "faults", []byte("PHONE,phone=PHONE;PHONE"))
	f.Add("DELETE", "faults", []byte(nil))
	f.Add("GET", "sent", []byte(nil))
	f.Add("GET", "../_/stats", []byte(nil))
	f.Add("POST", "reset", []byte(nil))
	known := []int{
		http.StatusOK, http.StatusNoContent, http.StatusBadRequest, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusTemporaryRedirect, // of an unclean path
	}
	f.Fuzz(func(t *testing.T, method, route string, body []byte) {
		e, _ := newTest(t, Options{})
		ask := func(method, route string, body string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			e.ServeHTTP(w, &http.Request{
				Method: method, Host: "h", Header: http.Header{}, URL: &url.URL{Path: "/_/" + route}, Body: io.NopCloser(strings.NewReader(body)),
			})
			return w
		}
		got := ask(method, route, strings.ReplaceAll(string(body), "PHONE", "13812345678"))
		require.True(t, slices.Contains(known, got.Code), "status %d", got.Code)
		if got.Code >= http.StatusBadRequest {
			require.NotContains(t, got.Body.String(), "13812345678")
		}
		shown := ask(http.MethodGet, "faults", "")
		require.Equal(t, http.StatusOK, shown.Code)
		var listed []struct{ Spec string }
		require.NoError(t, json.Unmarshal(shown.Body.Bytes(), &listed))
		specs := ""
		for _, l := range listed {
			specs += l.Spec + "\n"
		}
		again := ask(http.MethodPost, "faults", specs)
		require.Equal(t, http.StatusOK, again.Code, again.Body)
		if method != http.MethodPost || route != "faults" {
			require.Equal(t, "[]\n", shown.Body.String(), "nothing else sets faults")
		}
	})
}
