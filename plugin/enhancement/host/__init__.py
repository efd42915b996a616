"""The host: the Orthanc process that we run in, its versions, and what it exchanges with us."""
