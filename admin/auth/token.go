package auth

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"

	"golang.org/x/crypto/argon2"
)

// A token reads outboxd_NAME_SECRET. Its name finds the line of the file, so that one request costs one hash.
const (
	tokenPrefix = "outboxd_"
	secretBytes = 32
	saltBytes   = 16
)

// Cost of a hash: OWASP's second recommendation for argon2id (19 MiB, two passes, one lane).
const (
	argonMemory = 19 * 1024 // KiB
	argonPasses = 2
	argonLanes  = 1
	argonBytes  = 32
)

// maxVerified bounds the tokens that are known to be right. Each stands for one line of the file.
const maxVerified = 1024

var (
	tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$`)
	b64       = base64.RawURLEncoding
	phc       = base64.RawStdEncoding // of the string format that password hashes share
	phcHead   = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, argonMemory, argonPasses, argonLanes)
)

// NewToken makes a token. The secret goes to its owner and is kept nowhere; the line goes into the file.
// Names have letters, digits, dots and hyphens.
func NewToken(name, role string) (secret, line string, err error) {
	if !tokenName.MatchString(name) {
		return "", "", fmt.Errorf("%q is no name of a token: use up to 64 letters, digits, dots and hyphens", name)
	}
	if role == "" || strings.ContainsAny(role, " \t\r\n") {
		return "", "", fmt.Errorf("%q is no name of a role", role)
	}
	random := make([]byte, secretBytes+saltBytes)
	_, _ = rand.Read(random) // never fails: it ends the program first
	secret = tokenPrefix + name + "_" + b64.EncodeToString(random[:secretBytes])
	salt := random[secretBytes:]
	hash := phcHead + phc.EncodeToString(salt) + "$" + phc.EncodeToString(derive(secret, salt))
	return secret, name + " " + role + " " + hash, nil
}

func derive(secret string, salt []byte) []byte {
	return argon2.IDKey([]byte(secret), salt, argonPasses, argonMemory, argonLanes, argonBytes)
}

// Tokens are the tokens of a file. They are safe for concurrent use.
type Tokens struct {
	lines map[string]tokenLine
	one   chan struct{} // one hash at a time: each takes 19 MiB

	mu       sync.Mutex
	verified map[[sha256.Size]byte]string // names, by the digest of a token that was found right
}

type tokenLine struct {
	role       string
	salt, hash []byte
}

// LoadTokens reads a tokens file. It refuses a file that others can write, because roles stand in it.
func LoadTokens(path string) (*Tokens, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the tokens file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the tokens file: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("the tokens file %s can be written by others: chmod 600", path)
	}
	t, err := ReadTokens(f)
	if err != nil {
		return nil, fmt.Errorf("the tokens file %s: %w", path, err)
	}
	return t, nil
}

// ReadTokens reads lines `name role argon2id-hash`. Empty lines and lines that begin with # are left out. An error
// names the line, and never what stands in it.
func ReadTokens(r io.Reader) (*Tokens, error) {
	t := &Tokens{lines: make(map[string]tokenLine), one: make(chan struct{}, 1), verified: make(map[[sha256.Size]byte]string)}
	scan := bufio.NewScanner(r)
	for n := 1; scan.Scan(); n++ {
		text := strings.TrimSpace(scan.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		fields := strings.Fields(text)
		if len(fields) != 3 || !tokenName.MatchString(fields[0]) {
			return nil, fmt.Errorf("line %d is not `name role hash`; make it with `outboxd admin token new`", n)
		}
		line, err := parseHash(fields[2])
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if _, twice := t.lines[fields[0]]; twice {
			return nil, fmt.Errorf("line %d: the name %s is there twice", n, fields[0])
		}
		line.role = fields[1]
		t.lines[fields[0]] = line
	}
	if err := scan.Err(); err != nil {
		return nil, err
	}
	return t, nil
}

func parseHash(text string) (tokenLine, error) {
	wrong := errors.New("the hash is not one of `outboxd admin token new`")
	rest, ok := strings.CutPrefix(text, phcHead)
	salt, hash, two := strings.Cut(rest, "$")
	if !ok || !two {
		return tokenLine{}, wrong
	}
	var l tokenLine
	var saltErr, hashErr error
	l.salt, saltErr = phc.DecodeString(salt)
	l.hash, hashErr = phc.DecodeString(hash)
	if saltErr != nil || hashErr != nil || len(l.salt) != saltBytes || len(l.hash) != argonBytes {
		return tokenLine{}, wrong
	}
	return l, nil
}

// Role returns the role of the token with that name. Ok is false where the file has no such name.
func (t *Tokens) Role(name string) (role string, ok bool) {
	l, ok := t.lines[name]
	return l.role, ok
}

// Names returns the role of each token, by name.
func (t *Tokens) Names() map[string]string {
	names := make(map[string]string, len(t.lines))
	for name, l := range t.lines {
		names[name] = l.role
	}
	return names
}

// nameOf returns the name that a token claims, or "".
func nameOf(secret string) string {
	rest, ok := strings.CutPrefix(secret, tokenPrefix)
	at := strings.LastIndexByte(rest, '_')
	if n := b64.EncodedLen(secretBytes); ok && len(rest) > n && rest[len(rest)-n-1] == '_' { // the secret may hold _
		at = len(rest) - n - 1
	}
	if !ok || at < 1 || !tokenName.MatchString(rest[:at]) {
		return ""
	}
	return rest[:at]
}

// known reports whether the token was found right before. It costs one digest, and needs no limit.
func (t *Tokens) known(secret string) (name string, ok bool) {
	digest := sha256.Sum256([]byte(secret))
	t.mu.Lock()
	defer t.mu.Unlock()
	name, ok = t.verified[digest]
	return name, ok
}

// verify reports whose token it is. A name that is not there takes as long as a wrong secret.
func (t *Tokens) verify(secret string) (name string, ok bool) {
	name = nameOf(secret)
	line, exists := t.lines[name]
	if !exists {
		line = tokenLine{salt: make([]byte, saltBytes), hash: make([]byte, argonBytes)}
	}
	t.one <- struct{}{}
	hash := derive(secret, line.salt)
	<-t.one
	if subtle.ConstantTimeCompare(hash, line.hash) != 1 || !exists {
		return "", false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.verified) >= maxVerified {
		clear(t.verified)
	}
	t.verified[sha256.Sum256([]byte(secret))] = name
	return name, true
}
