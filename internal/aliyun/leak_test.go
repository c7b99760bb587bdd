package aliyun

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// A service that repeats the whole request wherever an answer has room for it.
// However the outcome is printed, none of it may be seen.
func TestNoAnswerCarriesASecretOut(t *testing.T) {
	t.Parallel()
	quote := func(r *http.Request) string {
		return r.URL.String() + " " + r.URL.Query().Get("PhoneNumbers") + " " + r.URL.Query().Get("TemplateParam") + " " + r.Header.Get("Authorization")
	}
	type members = map[string]any
	for name, answer := range map[string]func(quoted string) members{
		"in the message":              func(quoted string) members { return members{"Code": "isv.X", "Message": quoted} },
		"in the code":                 func(quoted string) members { return members{"Code": quoted, "Message": "x"} },
		"the number as the code":      func(string) members { return members{"Code": "Forbidden.13812345678"} },
		"the passcode as the code":    func(string) members { return members{"Code": testCode} },
		"in the request id":           func(quoted string) members { return members{"Code": "isv.X", "RequestId": quoted} },
		"the number as the receipt":   func(string) members { return members{"Code": "OK", "BizId": "13812345678^0"} },
		"everything as the receipt":   func(quoted string) members { return members{"Code": "OK", "BizId": quoted, "Message": quoted} },
		"in what the gateway adds":    func(quoted string) members { return members{"Code": "Throttling", "Recommend": quoted} },
		"as a member of a wrong kind": func(quoted string) members { return members{"Code": []string{quoted}} },
	} {
		for _, status := range []int{200, 400, 500, 503} {
			t.Run(fmt.Sprintf("%s, %d", name, status), func(t *testing.T) {
				t.Parallel()
				checkSendLeaks(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("X-Echo", quote(r))
					w.WriteHeader(status)
					_ = json.NewEncoder(w).Encode(answer(quote(r)))
				})
			})
		}
	}
	for name, answer := range map[string]http.HandlerFunc{
		"HTML": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(502); _, _ = io.WriteString(w, quote(r)) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/"+r.URL.RawQuery, http.StatusTemporaryRedirect)
		},
		"abort": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkSendLeaks(t, answer)
		})
	}
}

func checkSendLeaks(t *testing.T, answer http.HandlerFunc) {
	t.Helper()
	s := newTestSender(t, testOptions(newService(t, answer).URL))
	outcome := send(t, s)
	assert.Contains(t, passcode.Classes(), outcome.Class)
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, &slog.HandlerOptions{ReplaceAttr: withoutTime})).Info("outcome", "outcome", outcome)
	marshalled, err := json.Marshal(outcome)
	assert.NoError(t, err)
	for _, text := range []string{
		fmt.Sprintf("%v %+v %#v", outcome, outcome, outcome), logged.String(), string(marshalled),
	} {
		assertNoSecret(t, text)
	}

	_, err = s.Lookup(t.Context(), passcode.NewPhone(testPhone), "req-1", noon)
	assertNoSecret(t, fmt.Sprintf("%v %+v %#v", err, err, err))
}

// The refusal of a signature goes on with what was signed, and so with number and
// passcode: as they are, encoded once or twice.
func TestNoRefusedSignatureCarriesASecretOut(t *testing.T) {
	t.Parallel()
	once := url.QueryEscape
	for name, encoded := range map[string]func(query string) string{
		"as it is":      func(query string) string { return query },
		"encoded once":  once,
		"encoded twice": func(query string) string { return once(once(query)) },
	} {
		for _, intro := range []string{
			"Specified signature is not matched with our calculation. server string to sign is:",
			"Specified signature does not match our calculation. server StringToSign is ",
			"server canonical request:\n", "", // and where the words before it are others
		} {
			t.Run(name+", "+intro, func(t *testing.T) {
				t.Parallel()
				answer := func(w http.ResponseWriter, r *http.Request) {
					code(400, "SignatureDoesNotMatch", intro+"POST&%2F&"+encoded(r.URL.RawQuery)+" POST\n/\n"+encoded(r.URL.RawQuery))(w, r)
				}
				checkSendLeaks(t, answer)
				s := newTestSender(t, testOptions(newService(t, answer).URL))
				outcome := send(t, s)
				assert.Equal(t, passcode.ClassAccount, outcome.Class)
				assert.Equal(t, "SignatureDoesNotMatch", outcome.Code)
				_, err := s.ReviewSign(t.Context(), "测试签名")
				assertNoSecret(t, err.Error())
			})
		}
	}
}

// withoutTime drops a line's time, whose fraction may be the passcode by chance.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func TestOptionsPrintNoSecret(t *testing.T) {
	t.Parallel()
	options := testOptions("127.0.0.1:1")
	assertNoSecret(t, fmt.Sprintf("%v %+v %#v", options, options, options))
}
