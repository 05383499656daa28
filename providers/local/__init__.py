"""The provider of the embedded model: llama.cpp in a child process."""
