"""One model served to many, each with a memory of his own.

engine/   continuous batching: who reads and who writes next
store/    memories as versions, in one folder
api/      the server: OpenAI's calls, and those of memories
"""
