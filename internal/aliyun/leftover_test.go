package aliyun

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// A server, or a proxy before it, that writes a second answer behind the first.
// It answers nothing that was asked, so no message may be taken for sent by it.
func TestSendBelievesNoAnswerToAnotherRequest(t *testing.T) {
	t.Parallel()
	const refusal = `{"Code":"isv.MOBILE_NUMBER_ILLEGAL","Message":"x"}`
	both := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(refusal), refusal) + rawOK
	s := newTestSender(t, testOptions(newRawService(t, func(conn *net.TCPConn) {
		for in := bufio.NewReader(conn); ; {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			_, _ = io.WriteString(conn, both)
		}
	})))
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 30 {
				assert.NotEqual(t, passcode.ClassOK, s.Send(t.Context(), testMessage(), time.Time{}).Class)
			}
		})
	}
	wait.Wait()
}
