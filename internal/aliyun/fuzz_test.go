package aliyun

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// memory is a network without one: a connection that takes a request and holds the answer
// to it. Without a status there is none.
type memory struct {
	status int
	date   string
	body   []byte
}

// memoryConn is one connection of it.
type memoryConn struct {
	net.Conn
	answer io.Reader
}

func (c memoryConn) Read(p []byte) (int, error) { return c.answer.Read(p) }
func (memoryConn) Write(p []byte) (int, error)  { return len(p), nil }
func (memoryConn) SetDeadline(time.Time) error  { return nil }
func (memoryConn) Close() error                 { return nil }

func (m memory) dial(context.Context, string, string) (net.Conn, error) {
	var answer bytes.Buffer
	if m.status != 0 {
		fmt.Fprintf(&answer, "HTTP/1.1 %03d X\r\nContent-Length: %d\r\nDate: %s\r\n\r\n", m.status, len(m.body), m.date)
		answer.Write(m.body)
	}
	return memoryConn{answer: &answer}, nil
}

// FuzzReviews answers the questions of worker check with any body. FuzzWire does so with
// sends, and FuzzDetails with look-ups.
func FuzzReviews(f *testing.F) {
	for _, body := range []string{
		okBody, "", "[1]", "null", `{"Code":"OK"}`,
		`{"Code":"isv.MOBILE_NUMBER_ILLEGAL","Message":"13812345678invalid mobile number"}`,
		`{"code":"Throttling","message":"\u0000\ud800","Recommend":"https://x/?q=493817","AccessDeniedDetail":{"a":[1]}}`,
		`{"Code":"OK","SignStatus":1,"Reason":"13812345678"}`,
		`{"Code":"OK","SignStatus":2,"TemplateStatus":2,"TemplateType":1,"Reason":"493817 at https://x/?y","TemplateContent":"${code}${13812345678}"}`,
		`{"Code":"OK","SignStatus":"1","TemplateStatus":1e99,"TemplateType":null,"TemplateContent":["${a"]}`,
		`{"Code":"InvalidAction.NotFound","Message":"x"}`,
	} {
		f.Add(200, "Sun, 22 Nov 2026 12:00:00 GMT", []byte(body))
	}
	f.Add(0, "", []byte{})
	f.Add(503, "Fri, 31 Dec 9999 23:59:60 GMT", []byte{})
	f.Add(302, "Sunday, 22-Nov-26 12:00:30 GMT", []byte("<Error><Code>Throttling</Code></Error>"))
	options := testOptions("127.0.0.1:1")
	f.Fuzz(func(t *testing.T, status int, date string, body []byte) {
		s, err := New(options)
		require.NoError(t, err)
		defer s.Close()
		if status != 0 && (status < 200 || status > 999) || strings.ContainsFunc(date, unicode.IsControl) {
			t.Skip("FuzzWire has answers that can't be read")
		}
		s.wire.Dial = memory{status, date, body}.dial
		presence, err := s.Knock(t.Context())
		require.Equal(t, status == 0, err != nil, "any answer will do")
		_, dateErr := http.ParseTime(date)
		require.Equal(t, err == nil && dateErr == nil, presence.Dated)
		sign, err := s.ReviewSign(t.Context(), "测试签名")
		checkFailure(t, err)
		checkFit(t, sign.Note, answer.MaxMessageBytes)
		template, err := s.ReviewTemplate(t.Context(), "SMS_CN")
		checkFailure(t, err)
		checkFit(t, template.Note, answer.MaxMessageBytes)
	})
}

// checkFailure: a question is answered, or there is a reason.
func checkFailure(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var failure *answer.Failure
	require.ErrorAs(t, err, &failure)
	require.NotEmpty(t, failure.Reason())
	require.NotEmpty(t, failure.Code)
	checkFit(t, failure.Code, answer.MaxCodeBytes)
	checkFit(t, failure.Message, answer.MaxMessageBytes)
}

// digitRuns are what may be a phone number or a part of it.
var digitRuns = regexp.MustCompile(`\pN(?:[ \t().+\-]{0,2}\pN){6,}`)

// checkFit judges a text that may be shown.
func checkFit(t *testing.T, text string, limit int) {
	t.Helper()
	unprintable := strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
	require.False(t, unprintable || !utf8.ValidString(text) || len(text) > limit, "not fit to be shown: %q", text)
	require.NotContains(t, text, "://")
	require.NotRegexp(t, digitRuns, text)
}

// FuzzWire answers a send with any bytes, over the transport itself. What the
// outcome claims must stand in an answer that another reader finds in them.
func FuzzWire(f *testing.F) {
	for _, s := range soundSends() {
		f.Add([]byte(reply(s.status, s.body)))
	}
	f.Add([]byte("HTTP/1.1 103 Early Hints\r\n\r\n" + rawOK))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + "6e\r\n" + okBody + "\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n" + okBody))
	for _, m := range corpus(corpusSeed, 60, soundSends()) {
		if len(m.wire) < 4<<10 {
			f.Add([]byte(m.wire))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 16<<10 {
			t.Skip("the corpus has the large ones")
		}
		s, err := New(testOptions("127.0.0.1:1"))
		require.NoError(t, err)
		defer s.Close()
		var read atomic.Bool
		served := make(chan struct{})
		s.wire.Dial = func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer close(served)
				defer func() { _ = far.Close() }()
				if _, err := http.ReadRequest(bufio.NewReader(far)); err != nil {
					return
				}
				read.Store(true)
				_, _ = far.Write(raw) // the client may leave in the middle
			}()
			return near, nil
		}
		outcome := s.Send(t.Context(), testMessage(), time.Time{})
		<-served

		require.True(t, read.Load())
		assertNoSecret(t, fmt.Sprintf("%+v", outcome))
		checkFit(t, outcome.Code, answer.MaxCodeBytes)
		checkFit(t, outcome.Message, answer.MaxMessageBytes)
		require.False(t, outcome.NotMade)
		require.Equal(t, outcome.Class == passcode.ClassOK, outcome.BizID != "")
		require.Equal(t, outcome.Class == passcode.ClassPhoneLimited, outcome.Window > 0)
		if outcome.Class == passcode.ClassInDoubt {
			return
		}
		status, members := readWire(t, raw)
		code, _ := folded(members, "Code").(string)
		class, _ := answer.ClassOf(code)
		require.Equal(t, class, outcome.Class, "HTTP %d", status)
		if class == passcode.ClassOK {
			require.Equal(t, http.StatusOK, status)
			require.IsType(t, "", folded(members, "BizId"))
		} else {
			require.True(t, status == http.StatusOK || status >= 400 && status <= 599, status)
		}
	})
}

// readWire reads an answer as a client of the library does by itself.
func readWire(t *testing.T, raw []byte) (status int, members map[string]any) {
	t.Helper()
	for in := bufio.NewReader(bytes.NewReader(raw)); ; {
		response, err := http.ReadResponse(in, &http.Request{Method: http.MethodPost})
		require.NoError(t, err, "no answer, and yet an outcome")
		if response.StatusCode >= 100 && response.StatusCode < 200 {
			require.NoError(t, response.Body.Close())
			continue
		}
		body, err := io.ReadAll(response.Body)
		require.NoError(t, response.Body.Close())
		require.NoError(t, err, "half an answer, and yet an outcome")
		require.NoError(t, json.Unmarshal(body, &members), "no JSON, and yet an outcome")
		return response.StatusCode, members
	}
}

// folded is a member, whatever the case of its name.
func folded(members map[string]any, name string) any {
	for key, value := range members {
		if strings.EqualFold(key, name) {
			return value
		}
	}
	return nil
}

// FuzzDetails answers a look-up with any body. What was found, or not, must stand
// in rows that another reader finds in it.
func FuzzDetails(f *testing.F) {
	for _, s := range soundDetails() {
		f.Add(200, []byte(s.body))
	}
	f.Add(200, []byte(`{"Code":"OK","TotalCount":"0","SmsSendDetailDTOs":{"SmsSendDetailDTO":[]}}`))
	f.Add(200, []byte(`{"code":"OK","totalcount":2,"smssenddetaildtos":{"smssenddetaildto":[{"outid":"req-1","sendstatus":"2"},{"SendStatus":1}]}}`))
	for _, m := range corpus(corpusSeed, 40, soundDetails()) {
		if _, text, found := strings.Cut(m.wire, "\r\n\r\n"); found && len(text) < 4<<10 {
			f.Add(200, []byte(text))
		}
	}
	options := testOptions("127.0.0.1:1")
	options.Now = func() time.Time { return noon }
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		s, err := New(options)
		require.NoError(t, err)
		defer s.Close()
		if status < 200 || status > 999 {
			t.Skip("FuzzWire has answers that can't be read")
		}
		s.wire.Dial = memory{status: status, body: body}.dial
		finding, err := s.Lookup(t.Context(), passcode.NewPhone(testPhone), "req-1", noon)
		assertNoSecret(t, fmt.Sprintf("%v %+v", err, finding))
		if err != nil {
			var lookup *answer.Failure
			require.ErrorAs(t, err, &lookup)
			require.Zero(t, finding)
			return
		}
		require.Equal(t, http.StatusOK, status)
		checkFit(t, finding.ErrorCode, answer.MaxCodeBytes)
		require.Equal(t, finding.State, stateIn(t, body))
	})
}

// stateIn reads send details without the types of the program.
func stateIn(t *testing.T, body []byte) domain.FindingState {
	t.Helper()
	var members map[string]any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	require.NoError(t, decoder.Decode(&members))
	require.Equal(t, "OK", folded(members, "Code"))
	list, _ := folded(members, "SmsSendDetailDTOs").(map[string]any)
	rows, _ := folded(list, "SmsSendDetailDTO").([]any)
	require.NotEmpty(t, fmt.Sprint(folded(members, "TotalCount")))
	if len(rows) == 0 {
		require.Equal(t, "0", strings.TrimLeft(fmt.Sprint(folded(members, "TotalCount")), "-+"), "a total that is not there")
	}
	state := domain.NotFound
	for _, row := range rows {
		members, ok := row.(map[string]any)
		require.True(t, ok, "a row that is none was read")
		status := strings.TrimLeft(fmt.Sprint(folded(members, "SendStatus")), "+0")
		switch {
		case folded(members, "OutId") != "req-1":
		case status == "2":
			state = domain.Undelivered
		default:
			return domain.Accepted
		}
	}
	return state
}
