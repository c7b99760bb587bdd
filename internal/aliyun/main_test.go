package aliyun

import (
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

func TestMain(m *testing.M) {
	// net/http prints what a strange server writes out of turn, as far as the
	// program lets it (internal/app does not).
	log.SetOutput(io.Discard)
	goleak.VerifyTestMain(m)
}

const (
	testPhone = "+8613812345678"
	testCode  = "493817"
)

func testMessage() domain.Message {
	return domain.Message{
		RequestID: "req-1",
		Phone:     passcode.NewPhone(testPhone),
		Code:      passcode.NewPasscode(testCode),
		UsageType: "SignIn",
		Params:    map[string]string{"app": "Zebra-Shop"},
	}
}

func testOptions(endpoint string) Options {
	scheme, host, found := strings.Cut(endpoint, "://")
	if !found {
		scheme, host = "http", endpoint
	}
	return Options{
		Endpoint: host, Protocol: scheme, SignName: "测试签名", Now: time.Now, Logger: slog.New(slog.DiscardHandler),
		Credentials:    Credentials{AccessKeyID: "LTAI5tTestKeyId", AccessKeySecret: passcode.NewSecret("TestKeySecret0123456789")},
		Templates:      []domain.Template{{UsageType: "Generic", TemplateCode: domain.TemplateCode{China: "SMS_CN", Overseas: "SMS_INTL"}, Params: []string{"app"}}},
		ConnectTimeout: 2 * time.Second, Timeout: 5 * time.Second, Concurrency: 256,
	}
}

func newTestSender(t testing.TB, o Options) *Sender {
	t.Helper()
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

// send sends [testMessage].
func send(t testing.TB, s *Sender) domain.Outcome {
	t.Helper()
	return s.Send(t.Context(), testMessage(), time.Time{})
}

// service is a loopback Dysmsapi that answers with a function and keeps every
// request it got.
type service struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

func newService(t testing.TB, answer http.HandlerFunc) *service {
	t.Helper()
	s := &service{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		s.mu.Lock()
		s.requests = append(s.requests, r)
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *service) got() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.requests...)
}

// peers is how many connections the requests came over.
func (s *service) peers() int {
	peers := map[string]bool{}
	for _, r := range s.got() {
		peers[r.RemoteAddr] = true
	}
	return len(peers)
}

// body answers with a status and bytes.
func body(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json;charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// code answers as the service does, with the code and message given.
func code(status int, code, message string) http.HandlerFunc {
	text, _ := json.Marshal(map[string]string{"Code": code, "Message": message, "RequestId": "F655A8D5-B967-440B-8683-DAD6FF8DE990"})
	return body(status, string(text))
}

const okBody = `{"Message":"OK","RequestId":"F655A8D5-B967-440B-8683-DAD6FF8DE990","BizId":"900619746936498440^0","Code":"OK"}`

func ok(w http.ResponseWriter, r *http.Request) { body(http.StatusOK, okBody)(w, r) }

func newTestClock() *fake.Clock { return fake.ClockAt(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)) }

// assertNoSecret looks for the values of [testMessage] in a text.
func assertNoSecret(t testing.TB, text string) {
	t.Helper()
	for _, secret := range []string{
		"13812345678", "8613812345678", testPhone, testCode, "Zebra-Shop", "Zebra%2DShop", "PhoneNumbers=", "://", "TestKeySecret",
	} {
		assert.NotContains(t, text, secret)
	}
}
