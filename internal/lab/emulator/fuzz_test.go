package emulator

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzAdmin asks anything of the administration. Nothing in it is an error of the
// server's, no refusal repeats a value, which may be a phone number, and what it
// shows of its faults can be set again.
func FuzzAdmin(f *testing.F) {
	f.Add("POST", "faults", []byte("code=isv.BUSINESS_LIMIT_CONTROL,phone=PHONE,count=2\nlatency=50ms,share=0.5"))
	f.Add("POST", "faults", []byte(`[{"kind":"code","code":"Throttling","status":400},"accept_drop,count=1",{"spec":"hang,duration=1s"}]`))
	f.Add("POST", "faults", []byte(`{"kind":"PHONE","phone":["PHONE"]}`))
	f.Add("DELETE", "faults", []byte(nil))
	f.Add("GET", "sent", []byte(nil))
	f.Add("GET", "../_/stats", []byte(nil))
	f.Add("POST", "reset", []byte(nil))
	known := []int{http.StatusOK, http.StatusNoContent, http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed}
	f.Fuzz(func(t *testing.T, method, route string, body []byte) {
		e, _ := newTest(t, Options{})
		ask := func(method, route string, body string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			e.ServeHTTP(w, &http.Request{
				Method: method, Host: "h", Header: http.Header{}, URL: &url.URL{Path: "/_/" + route}, Body: readCloser{strings.NewReader(body)},
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
		again := ask(http.MethodPost, "faults", shown.Body.String())
		require.Equal(t, http.StatusOK, again.Code, again.Body)
		if method != http.MethodPost || route != "faults" {
			require.Equal(t, "[]\n", shown.Body.String(), "nothing else sets faults")
		}
	})
}
