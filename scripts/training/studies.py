"""x"""


def pack_studies(data, folder):
    raise NotImplementedError
