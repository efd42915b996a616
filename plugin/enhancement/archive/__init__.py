"""The archive: where studies come from and results go, a folder of files or an Orthanc."""
