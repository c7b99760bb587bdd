package aliyun

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestSendWritesTheRequestAsAliyunWantsIt(t *testing.T) {
	t.Parallel()
	service := newService(t, ok)
	s := newTestSender(t, testOptions(service.URL))

	outcome := send(t, s)

	want := domain.Outcome{
		Class: passcode.ClassOK, Code: "OK", Message: "OK",
		BizID: "900619746936498440^0", ProviderRequestID: "F655A8D5-B967-440B-8683-DAD6FF8DE990",
	}
	assert.Empty(t, cmp.Diff(want, outcome))

	require.Len(t, service.got(), 1)
	r := service.got()[0]
	assert.Equal(t, http.MethodPost, r.Method)
	assert.Equal(t, "/", r.URL.Path)
	assert.Equal(t, "SendSms", r.Header.Get("X-Acs-Action"))
	assert.Equal(t, "2017-05-25", r.Header.Get("X-Acs-Version"))
	assert.True(t, strings.HasPrefix(r.Header.Get("Authorization"), "ACS3-HMAC-SHA256 Credential=LTAI5tTestKeyId,"))
	assert.Empty(t, r.Header.Get("Idempotency-Key"))
	assert.Zero(t, r.ContentLength)
	assert.Empty(t, cmp.Diff(map[string][]string{
		"PhoneNumbers":  {"13812345678"},
		"SignName":      {"测试签名"},
		"TemplateCode":  {"SMS_CN"},
		"TemplateParam": {`{"app":"Zebra-Shop","code":"493817"}`},
		"OutId":         {"req-1"},
	}, map[string][]string(r.URL.Query())))
}

// Each row is an answer; TestSendOfAThousandMalformedAnswers has more that can't be read.
func TestSendClassifiesAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		answer http.HandlerFunc
		class  passcode.Class
		code   string
		window time.Duration
	}{
		{"accepted", ok, passcode.ClassOK, "OK", 0},
		{"refused with status 200", code(200, "isv.MOBILE_NUMBER_ILLEGAL", "x"), passcode.ClassRecipient, "isv.MOBILE_NUMBER_ILLEGAL", 0},
		{"minute limit", code(200, "isv.BUSINESS_LIMIT_CONTROL", "触发分钟级流控Permits:1"), passcode.ClassPhoneLimited, "isv.BUSINESS_LIMIT_CONTROL", time.Minute},
		{"hour limit", code(200, "isv.BUSINESS_LIMIT_CONTROL", "触发小时级流控Permits:5"), passcode.ClassPhoneLimited, "isv.BUSINESS_LIMIT_CONTROL", time.Hour},
		{"phone's day limit", code(200, "isv.BUSINESS_LIMIT_CONTROL", "触发号码天级流控Permits:40"), passcode.ClassPhoneLimited, "isv.BUSINESS_LIMIT_CONTROL", 24 * time.Hour},
		{"gateway throttles", code(400, "Throttling.User", "slow down"), passcode.ClassThrottled, "Throttling.User", 0},
		{"account throttled, other status", code(503, "Throttling", "slow down"), passcode.ClassThrottled, "Throttling", 0},
		{"wrong key", code(404, "InvalidAccessKeyId.NotFound", "x"), passcode.ClassAccount, "InvalidAccessKeyId.NotFound", 0},
		{"forbidden", code(403, "Forbidden.RAM", "x"), passcode.ClassAccount, "Forbidden.RAM", 0},
		{"internal error", code(500, "InternalError", "x"), passcode.ClassInDoubt, "InternalError", 0},
		{"unavailable", code(503, "ServiceUnavailable", "x"), passcode.ClassTransient, "ServiceUnavailable", 0},
		{"code nobody knows", code(200, "isv.NEW_RULE", "x"), passcode.ClassConfig, "isv.NEW_RULE", 0},
		{"lower-case members", body(400, `{"code":"Throttling","message":"x","requestId":"1"}`), passcode.ClassThrottled, "Throttling", 0},
		{"OK without BizId", body(200, `{"Code":"OK","Message":"OK"}`), passcode.ClassInDoubt, "no_biz_id", 0},
		{"OK with empty BizId", body(200, `{"Code":"OK","BizId":""}`), passcode.ClassInDoubt, "no_biz_id", 0},
		{"OK with an error status", body(500, okBody), passcode.ClassInDoubt, "unreadable_answer", 0},
		{"502 with HTML", body(502, "<html>Bad Gateway</html>"), passcode.ClassInDoubt, "unreadable_answer", 0},
		{"503 empty", body(503, ""), passcode.ClassInDoubt, "unreadable_answer", 0},
		{"200 empty", body(200, ""), passcode.ClassInDoubt, "unreadable_answer", 0},
		{"200, too large", body(200, `{"Code":"OK","BizId":"1","x":"`+strings.Repeat("x", answer.MaxBytes)+`"}`), passcode.ClassInDoubt, "unreadable_answer", 0},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/other", http.StatusFound) }, passcode.ClassInDoubt, "unreadable_answer", 0},
		{"code that is no code", code(200, "isv.X 13812345678", "x"), passcode.ClassInDoubt, "unreadable_answer", 0},
		{"a gateway that gave up waiting", code(504, "GatewayTimeout", "x"), passcode.ClassInDoubt, "GatewayTimeout", 0},
		{"a refusal with a receipt", body(200, `{"Code":"isv.MOBILE_NUMBER_ILLEGAL","BizId":"900619746936498440^0"}`), passcode.ClassInDoubt, "unreadable_answer", 0},
		{"OK with a BizId that is none", body(200, `{"Code":"OK","BizId":"<nil>"}`), passcode.ClassInDoubt, "no_biz_id", 0},
		{"code with digits", code(200, "isv.X20261122", "x"), passcode.ClassConfig, "unreadable", 0},
		{"XML by its content type", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/xml;charset=utf-8")
			w.WriteHeader(400)
			_, _ = w.Write([]byte("<Error><Code>Throttling</Code></Error>"))
		}, passcode.ClassInDoubt, "unreadable_answer", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			service := newService(t, test.answer)
			s := newTestSender(t, testOptions(service.URL))
			outcome := send(t, s)
			assert.Equal(t, test.class, outcome.Class)
			assert.Equal(t, test.code, outcome.Code)
			assert.Equal(t, test.window, outcome.Window)
			assert.NotEmpty(t, outcome.Message)
			assert.Len(t, service.got(), 1, "one call, whatever the answer")
		})
	}
}

func TestSendOnManyGoroutinesAtATime(t *testing.T) {
	t.Parallel()
	service := newService(t, func(w http.ResponseWriter, r *http.Request) {
		// The receipt tells which request it is for: calls must not mix.
		body(200, fmt.Sprintf(`{"Code":"OK","BizId":"biz-%s","RequestId":"r"}`, r.URL.Query().Get("OutId")))(w, r)
	})
	s := newTestSender(t, testOptions(service.URL))
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			msg := testMessage()
			msg.RequestID = fmt.Sprintf("req-%d", i)
			outcome := s.Send(t.Context(), msg, time.Now().Add(time.Minute))
			assert.Equal(t, passcode.ClassOK, outcome.Class, outcome.Code)
			assert.Equal(t, "biz-"+msg.RequestID, outcome.BizID)
		})
	}
	wg.Wait()
	assert.Len(t, service.got(), 200)
}

func TestSendKeepsConnections(t *testing.T) {
	t.Parallel()
	service := newService(t, ok)
	s := newTestSender(t, testOptions(service.URL))
	for range 20 {
		require.Equal(t, passcode.ClassOK, send(t, s).Class)
	}
	assert.Equal(t, 1, service.peers(), "one connection serves calls in a row")
}

// The SDK looks for a proxy in the environment even though the transport is
// ours: it would fail on a bad one, and tell Aliyun the password of a good one.
func TestSendIgnoresTheEnvironmentsProxy(t *testing.T) {
	for _, proxy := range []string{"http://user:proxy-password@127.0.0.1:1", "http://%zz"} {
		t.Setenv("HTTP_PROXY", proxy)
		t.Setenv("HTTPS_PROXY", proxy)
		service := newService(t, ok)
		s := newTestSender(t, testOptions(service.URL))
		assert.Equal(t, passcode.ClassOK, send(t, s).Class)
		assert.Empty(t, service.got()[0].Header.Get("Proxy-Authorization"))
	}
}

// A caller who leaves during a call leaves it in doubt; before it, nothing was written.
func TestSendOfACallerWhoLeaves(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	service := newService(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	s := newTestSender(t, testOptions(service.URL))
	for _, want := range []domain.Outcome{
		{Class: passcode.ClassInDoubt, Code: "canceled", Message: "the call was canceled; the request had been written"},
		{Class: passcode.ClassTransient, Code: "canceled", Message: "the call was canceled; nothing was sent", NotMade: true},
	} {
		assert.Equal(t, want, s.Send(ctx, testMessage(), time.Time{}))
	}
	assert.Len(t, service.got(), 1)
}

func TestSendTimesOutAsAWhole(t *testing.T) {
	t.Parallel()
	tests := map[string]http.HandlerFunc{
		"no answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"an answer byte by byte": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					_, _ = w.Write([]byte(" "))
					_ = http.NewResponseController(w).Flush()
				case <-r.Context().Done():
					return
				}
			}
		},
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := testOptions(newService(t, answer).URL)
			options.Timeout = 100 * time.Millisecond
			s := newTestSender(t, options)
			began := time.Now()
			outcome := send(t, s)
			assert.Equal(t, passcode.ClassInDoubt, outcome.Class)
			assert.Equal(t, "timeout", outcome.Code)
			assert.Less(t, time.Since(began), 5*time.Second)
		})
	}
}

func TestSendThrottledSlowsThePaceAtOnce(t *testing.T) {
	t.Parallel()
	options := testOptions(newService(t, code(400, "Throttling.User", "x")).URL)
	options.MaxQPS = 1000
	s := newTestSender(t, options)
	require.InDelta(t, 1000, s.Rate(), 0)
	_, err := s.Pace(t.Context())
	require.NoError(t, err)
	assert.Equal(t, passcode.ClassThrottled, send(t, s).Class)
	assert.Less(t, s.Rate(), 10.0)
}

func TestNewRefusesToRunWhereTheSDKWouldPrint(t *testing.T) {
	t.Setenv("DEBUG", "other,dara")
	_, err := New(testOptions("127.0.0.1:1"))
	require.ErrorContains(t, err, "DEBUG")
	t.Setenv("DEBUG", "other")
	s, err := New(testOptions("127.0.0.1:1"))
	require.NoError(t, err)
	s.Close()
}

// TestSenderTellsItsBreaker of real calls.
func TestSenderTellsItsBreaker(t *testing.T) {
	t.Parallel()
	clock := newTestClock()
	answer := code(503, "ServiceUnavailable", "try later")
	s := newService(t, func(w http.ResponseWriter, r *http.Request) { answer(w, r) })
	o := testOptions(s.URL)
	o.Now = clock.Now
	sender := newTestSender(t, o)
	send := func(id string) passcode.Class {
		msg := testMessage()
		msg.RequestID = id
		return sender.Send(t.Context(), msg, time.Time{}).Class
	}
	for i := range 40 {
		clock.Move(2 * time.Second)
		require.Equal(t, passcode.ClassTransient, send(fmt.Sprintf("r%d", i)))
	}
	state := sender.State()
	assert.True(t, state.Open)
	assert.Equal(t, "ServiceUnavailable", state.Code)

	answer = ok
	clock.Move(15 * time.Second)
	require.True(t, sender.Admit("probe").Probe)
	require.Equal(t, passcode.ClassOK, send("probe"))
	assert.False(t, sender.State().Open)
}

// BenchmarkSendInMemory is our share and the SDK's, without a network.
func BenchmarkSendInMemory(b *testing.B) {
	s := newTestSender(b, testOptions("127.0.0.1:1"))
	s.wire.Dial = memory{status: 200, body: []byte(okBody)}.dial
	msg := testMessage()
	b.ReportAllocs()
	for b.Loop() {
		if outcome := s.Send(b.Context(), msg, time.Time{}); outcome.Class != passcode.ClassOK {
			b.Fatalf("%+v", outcome)
		}
	}
}
