package aliyun

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	corpusSeed = 20261122
	corpusSize = 1000
)

// keyIndex finds in a request which answer it is to get: each has a sender of its
// own, and an access key named after it.
var keyIndex = regexp.MustCompile(`Credential=LTAI5t(\d+),`)

// corpusService answers with a corpus, and counts the requests for each answer.
func corpusService(t *testing.T, all []malformed) (endpoint string, asked func(int) int) {
	t.Helper()
	var mu sync.Mutex
	counts := make([]int, len(all))
	endpoint = newRawService(t, func(conn *net.TCPConn) {
		for in := bufio.NewReader(conn); ; {
			request, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			found := keyIndex.FindStringSubmatch(request.Header.Get("Authorization"))
			if found == nil {
				t.Error("a request without a key")
				return
			}
			index, _ := strconv.Atoi(found[1]) // digits, as matched
			mu.Lock()
			counts[index]++
			mu.Unlock()
			// The client may leave in the middle; what it makes of it is the test.
			_, _ = io.WriteString(conn, all[index].wire)
			switch all[index].then {
			case keep:
				continue
			case hangUp:
				return
			case cutOff:
				reset(conn)
				return
			case saysNoEnd:
				_, _ = io.Copy(io.Discard, conn) // until the client has had enough
				return
			}
		}
	})
	return endpoint, func(index int) int {
		mu.Lock()
		defer mu.Unlock()
		return counts[index]
	}
}

// eachOf calls a function for each answer of a corpus, with a sender that gets it, and
// logs how often it returned what.
func eachOf(t *testing.T, all []malformed, call func(index int, m malformed, s *Sender, asked func(int) int) (outcome string)) {
	t.Helper()
	var mu sync.Mutex
	counts := map[string]int{}
	require.Len(t, all, corpusSize)
	endpoint, asked := corpusService(t, all)
	var wait sync.WaitGroup
	next := make(chan int)
	for range 16 {
		wait.Go(func() {
			for index := range next {
				options := testOptions(endpoint)
				options.Credentials.AccessKeyID = fmt.Sprintf("LTAI5t%d", index)
				options.Now = func() time.Time { return noon }
				if all[index].then == saysNoEnd {
					options.Timeout = time.Second
				}
				s, err := New(options)
				if !assert.NoError(t, err) {
					continue
				}
				outcome := call(index, all[index], s, asked)
				s.Close()
				mu.Lock()
				counts[outcome]++
				mu.Unlock()
			}
		})
	}
	for index := range all {
		next <- index
	}
	close(next)
	wait.Wait()
	t.Logf("%d malformed answers: %v", corpusSize, counts)
}

func TestTheCorpusIsTheSameEachTime(t *testing.T) {
	t.Parallel()
	first, second := corpus(corpusSeed, corpusSize, soundSends()), corpus(corpusSeed, corpusSize, soundSends())
	assert.True(t, slices.EqualFunc(first, second, func(a, b malformed) bool { return a.wire == b.wire && a.then == b.then }))
	families := map[string]bool{}
	for _, m := range first {
		families[m.family] = true
	}
	assert.Len(t, families, len(textFamilies())+len(wireFamilies()), "each family has a part in it")
}

// The sound answers themselves mean what they say: otherwise no oracle.
func TestTheSoundAnswersOfTheCorpus(t *testing.T) {
	t.Parallel()
	for _, s := range soundSends() {
		outcome := newTestSender(t, testOptions(newService(t, body(s.status, s.body)).URL)).Send(t.Context(), testMessage(), time.Time{})
		assert.Equal(t, s.class, outcome.Class)
	}
	for _, s := range soundDetails() {
		finding, _, err := lookupAt(t, body(s.status, s.body), noon, noon)
		require.NoError(t, err)
		assert.Equal(t, s.found, foundWord(finding))
	}
}

// A thousand malformed answers to a send. The request was written, so what can't
// be trusted is in doubt: neither sent nor surely not sent.
func TestSendOfAThousandMalformedAnswers(t *testing.T) {
	t.Parallel()
	eachOf(t, corpus(corpusSeed, corpusSize, soundSends()), func(index int, m malformed, s *Sender, asked func(int) int) string {
		outcome := send(t, s)
		where := fmt.Sprintf("answer %d: %s", index, m.family)
		if asked(index) == 0 {
			// A machine too busy to get a request out, or to have it read, in time.
			assert.Contains(t, []passcode.Class{passcode.ClassTransient, passcode.ClassInDoubt}, outcome.Class, where)
			return string(outcome.Class)
		}
		allowed := []passcode.Class{passcode.ClassInDoubt}
		if m.harmless {
			allowed = append(allowed, m.sound.class)
		}
		assert.Contains(t, allowed, outcome.Class, where)
		assert.Equal(t, 1, asked(index), "%s: one request, whatever the answer", where)
		assert.Equal(t, outcome.Class == passcode.ClassOK, outcome.BizID != "", where)
		assert.NotEmpty(t, outcome.Code, where)
		assert.LessOrEqual(t, len(outcome.Message), answer.MaxMessageBytes, where)
		assertNoSecret(t, fmt.Sprintf("%v %+v %#v", outcome, outcome, outcome))
		return string(outcome.Class)
	})
}

// The same for look-ups: found would mean sent, and not found another message.
func TestLookupOfAThousandMalformedAnswers(t *testing.T) {
	t.Parallel()
	eachOf(t, corpus(corpusSeed, corpusSize, soundDetails()), func(index int, m malformed, s *Sender, _ func(int) int) string {
		finding, err := s.Lookup(t.Context(), passcode.NewPhone(testPhone), "req-1", noon)
		where := fmt.Sprintf("answer %d: %s", index, m.family)
		assertNoSecret(t, fmt.Sprintf("%v %+v %#v %+v", err, err, err, finding))
		if err == nil {
			assert.True(t, m.harmless, "%s: %s", where, foundWord(finding))
			assert.Equal(t, m.sound.found, foundWord(finding), where)
			return foundWord(finding)
		}
		assert.Zero(t, finding, where)
		var failure *answer.Failure
		if !assert.ErrorAs(t, err, &failure, where) {
			return ""
		}
		assert.NotContains(t, []passcode.Class{passcode.ClassOK, passcode.ClassInDoubt}, failure.Class, where)
		return string(failure.Class)
	})
}

func foundWord(finding domain.Finding) string {
	return map[domain.FindingState]string{domain.Accepted: "accepted", domain.Undelivered: "undelivered", domain.NotFound: "not found"}[finding.State]
}
