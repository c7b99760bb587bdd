package emulator

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testStart is the time at which test clocks begin: half past noon in UTC+8.
var testStart = time.Date(2026, 11, 22, 4, 30, 0, 0, time.UTC)

// newTest returns an emulator on a test clock.
func newTest(t *testing.T, opts Options) (*Emulator, *fake.Clock) {
	t.Helper()
	c := fake.ClockAt(testStart)
	if opts.Now == nil {
		opts.Now = c.Now
	}
	e := mustNew(t, opts)
	t.Cleanup(e.Close)
	return e, c
}

var nonceCounter atomic.Int64

// signed returns a request with the older signature, in a form.
func signed(e *Emulator, action string, params map[string]string) *http.Request {
	form := url.Values{}
	for name, value := range params {
		form.Set(name, value)
	}
	for name, value := range map[string]string{
		"Action": action, "Version": gateway.Version, "AccessKeyId": e.opts.AccessKeyID,
		"SignatureMethod": "HMAC-SHA1", "SignatureVersion": "1.0",
		"SignatureNonce": fmt.Sprint("nonce-", nonceCounter.Add(1)),
		"Timestamp":      e.opts.Now().UTC().Format(time.RFC3339),
	} {
		form.Set(name, value)
	}
	mac := hmac.New(sha1.New, []byte(e.opts.AccessKeySecret+"&"))
	mac.Write([]byte("POST&%2F&" + url.QueryEscape(strings.ReplaceAll(form.Encode(), "+", "%20"))))
	form.Set("Signature", base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	r := httptest.NewRequest(http.MethodPost, "http://dysmsapi.test/", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// sending returns parameters of SendSms that are all sound, with changes.
func sending(changes ...string) map[string]string {
	params := map[string]string{
		"PhoneNumbers": "13812345678", "SignName": "阿里云", "TemplateCode": "SMS_1",
		"TemplateParam": `{"code":"123456"}`, "OutId": "req-1",
	}
	return changed(params, changes)
}

func looking(changes ...string) map[string]string {
	params := map[string]string{
		"PhoneNumber": "13812345678", "SendDate": "20261122", "PageSize": "10", "CurrentPage": "1",
	}
	return changed(params, changes)
}

// changed sets pairs of name and value; the value "-" takes the name out.
func changed(params map[string]string, pairs []string) map[string]string {
	for i := 0; i < len(pairs); i += 2 {
		params[pairs[i]] = pairs[i+1]
		if pairs[i+1] == "-" {
			delete(params, pairs[i])
		}
	}
	return params
}

// reply is an answer as a client reads it.
type reply struct {
	Status    int `json:"-"`
	Code      string
	Message   string
	RequestID string `json:"RequestId"`
	BizID     string `json:"BizId"`
	HostID    string `json:"HostId"`
	Recommend string

	TotalCount        int
	SmsSendDetailDTOs struct{ SmsSendDetailDTO []detail }

	SignStatus, TemplateStatus, TemplateType any
	TemplateContent                          string
}

// detail is one row of QuerySendDetails as a client reads it.
type detail struct {
	PhoneNum, ErrCode, TemplateCode, Content, SendDate, ReceiveDate string
	OutID                                                           string `json:"OutId"`
	SendStatus                                                      int
}

func serve(t *testing.T, e *Emulator, r *http.Request) reply {
	t.Helper()
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	var got reply
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &got), "the answer: %s", w.Body)
	require.Equal(t, typeJSON, w.Header().Get("Content-Type"))
	require.Equal(t, got.RequestID, w.Header().Get("X-Acs-Request-Id"))
	got.Status = w.Code
	return got
}

// do signs and serves one request.
func do(t *testing.T, e *Emulator, action string, params map[string]string) reply {
	t.Helper()
	return serve(t, e, signed(e, action, params))
}

// mustSend sends one message that must be accepted.
func mustSend(t *testing.T, e *Emulator, changes ...string) reply {
	t.Helper()
	got := do(t, e, gateway.ActionSendSms, sending(changes...))
	require.Equal(t, "OK", got.Code, got.Message)
	return got
}

func mustNew(t testing.TB, opts Options) *Emulator {
	t.Helper()
	e, err := New(opts)
	require.NoError(t, err)
	return e
}

// elapse lets the time of a synctest bubble go on.
func elapse(d time.Duration) { <-time.After(d) }

func TestDefaults(t *testing.T) {
	t.Parallel()
	e := mustNew(t, Options{})
	t.Cleanup(e.Close)
	assert.Equal(t, DefaultAccessKeyID, e.opts.AccessKeyID)
	assert.Equal(t, DefaultAccessKeySecret, e.opts.AccessKeySecret)
	assert.Equal(t, serviceWaits, e.opts.ReportWaits)
	mustSend(t, e)

	half := mustNew(t, Options{AccessKeyID: "mine"})
	t.Cleanup(half.Close)
	assert.Empty(t, half.opts.AccessKeySecret, "a key of one's own is not completed with the default one")
}

// TestConcurrentUse does everything at once, for the race detector, and counts.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{Faults: []string{"accept_code=InternalError,count=50"}})
	const workers, each = 8, 50
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for j := range each {
				phone := "1380000" + strconv.Itoa(1000+i)
				got := do(t, e, gateway.ActionSendSms, sending("PhoneNumbers", phone, "OutId", strconv.Itoa(j)))
				assert.Contains(t, []string{"OK", "InternalError"}, got.Code)
				do(t, e, gateway.ActionQuerySendDetails, looking("PhoneNumber", phone))
				e.Stats()
				e.Sent()
			}
		})
	}
	wg.Wait()
	stats := e.Stats()
	assert.Equal(t, int64(workers*each), stats.Accepted)
	assert.Equal(t, int64(50), stats.Answers["InternalError"])
	assert.LessOrEqual(t, stats.MaxInFlight, int64(workers))
	seen := map[string]bool{}
	for _, s := range e.Sent() {
		seen[s.BizID] = true
	}
	assert.Len(t, seen, workers*each)
}

func TestResetDuringUse(t *testing.T) {
	t.Parallel()
	e, _ := newTest(t, Options{Limits: true})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 50 {
				got := do(t, e, gateway.ActionSendSms, sending("PhoneNumbers", strconv.Itoa(13800000000+i*50+j)))
				assert.Equal(t, "OK", got.Code)
				if j%10 == 0 {
					e.Reset()
				}
			}
		})
	}
	wg.Wait()
	assert.Zero(t, e.Stats().InFlight)
}
