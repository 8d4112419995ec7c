package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
)

func sealer(id string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(id), nil, "outboxd admin session", 32)
	if err != nil {
		return nil, fmt.Errorf("derive the session's key: %w", err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("derive the session's key: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// seal encrypts what only the holder of the session's cookie may make readable again.
func seal(id string, plain []byte) ([]byte, error) {
	aead, err := sealer(id)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, plain, nil), nil
}

func unseal(id string, sealed []byte) ([]byte, error) {
	aead, err := sealer(id)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, sealed, nil)
	if err != nil {
		return nil, errors.New("the session's data were changed")
	}
	return plain, nil
}
